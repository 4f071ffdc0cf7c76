"""Small tokenizers of each family, built without a network: how they split, and what they add."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer, UnigramTrainer
from transformers import PreTrainedTokenizerFast

from tasks.models.tokens.tokenizer import train_tokenizer

TEXTS = [
    f"Human: what is {i} plus {j}? Assistant: it is {i + j}, sir. It's\n\nok: it, Response:\nok"
    for i in range(9)
    for j in range(9)
]
_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def sparring(folder: Path) -> Any:
    """Our own byte-level BPE, which puts BOS first."""
    return train_tokenizer(iter(TEXTS), 320, folder)


def qwen2(folder: Path) -> Any:
    """Byte-level BPE with Qwen2's splits, no BOS, and an end that chat templates write."""
    split = pre_tokenizers.Split(Regex(_QWEN), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    backend.decoder = decoders.ByteLevel()
    _train(backend, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], initial_alphabet=_BYTES)
    return _fast(backend, eos="<|im_end|>", pad="<|endoftext|>")


def llama2(folder: Path) -> Any:
    """BPE without splits on "▁" for spaces, a "▁" put first, BOS first."""
    spaces = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Sequence(spaces)
    trained.pre_tokenizer = pre_tokenizers.Split(Regex("▁|\n"), "isolated")
    _train(trained, ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))])
    known = json.loads(trained.to_str())["model"]
    merges = [(left, right) for left, right in known["merges"]]
    model = models.BPE(known["vocab"], merges, unk_token="<unk>", byte_fallback=True)
    backend = Tokenizer(model)
    backend.normalizer = normalizers.Sequence(spaces)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    return _fast(backend, bos="<s>", eos="</s>", unk="<unk>")


def t5(folder: Path) -> Any:
    """Unigram on words, line breaks and runs of spaces read as one space, EOS put last."""
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    backend.train_from_iterator(
        TEXTS,
        UnigramTrainer(
            vocab_size=150, special_tokens=special, unk_token="<unk>", show_progress=False
        ),
    )
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", backend.token_to_id("</s>"))]
    )
    return _fast(backend, eos="</s>", pad="<pad>", unk="<unk>")


def bart(folder: Path) -> Any:
    """Byte-level BPE that puts BOS first and EOS last."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    _train(backend, ["<s>", "<pad>", "</s>"], initial_alphabet=_BYTES)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return _fast(backend, bos="<s>", eos="</s>", pad="<pad>")


def gpt2(data: Path) -> Any:
    """The real one, from the folder of real data sets."""
    from transformers import GPT2TokenizerFast

    folder = data / "gpt2_tokenizer"
    names = {"vocab": "gpt2_vocab.json", "merges": "gpt2_merges.txt"}
    return GPT2TokenizerFast(**{key: str(folder / name) for key, name in names.items()})


def crossing(folder: Path) -> Any:
    """BPE that merges over spaces and line breaks, as superword tokenizers do."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    _train(backend, ["<pad>", "<eos>"], size=420, initial_alphabet=_BYTES)
    return _fast(backend, eos="<eos>", pad="<pad>")


FAMILIES: dict[str, Callable[[Path], Any]] = {
    make.__name__: make for make in (sparring, gpt2, qwen2, llama2, t5, bart)
}


def _train(backend: Tokenizer, special: list[str], size: int = 400, **more: Any) -> None:
    trainer = BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False, **more)
    backend.train_from_iterator(TEXTS, trainer=trainer)


def _fast(backend: Tokenizer, **special: str) -> Any:
    named = {f"{name}_token": token for name, token in special.items()}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **named)
