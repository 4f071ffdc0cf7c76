"""Tokenizers: trained on a run's own data, or loaded; never with remote code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.models.pretrained.gguf_files import source_arguments
from tasks.models.source_checks import check_tokenizer_source, load_errors
from tasks.settings.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
_SPECIAL = (PAD, BOS, EOS)
_BYTES = 256


def train_tokenizer(
    texts: Iterator[str], vocab_size: int, folder: str | Path
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE and save it; the same texts give the same files.

    Args:
        texts: The run's own texts, read once.
        vocab_size: Entries wanted, special tokens included. At least 259: every byte has one.
        folder: Where the tokenizer is saved, in transformers' format.

    Returns:
        A tokenizer that decodes any text back to itself, puts `<bos>` first, and whose `<pad>`,
        `<bos>` and `<eos>` are three different tokens.

    Raises:
        ConfigError: If `vocab_size` has no room for the 256 bytes.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    least = _BYTES + len(_SPECIAL)
    if vocab_size < least:
        raise ConfigError(f"vocab_size is {vocab_size}, but {least} are needed: every byte has one")
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer=trainer)
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A $B",
        special_tokens=[(BOS, backend.token_to_id(BOS))],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def load_tokenizer(path: str | Path, *, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a folder, a GGUF file, or by its hub name.

    Args:
        path: Folder, GGUF file or hub name.
        revision: Branch, tag or commit of a hub model; None is its main branch.

    Raises:
        ConfigError: If it cannot be loaded, asks for remote code, or has no end-of-text token.
    """
    from transformers import AutoTokenizer

    check_tokenizer_source(path)
    with load_errors("tokenizer", path):
        tokenizer = AutoTokenizer.from_pretrained(
            **source_arguments(path, revision), trust_remote_code=False
        )
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"the tokenizer {str(path)!r} has no eos_token: responses could not end")
    # These say where it was loaded from; saved again, they would change the folder's digest.
    for name in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(name, None)
    return tokenizer


def ensure_pad(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Give a tokenizer a padding token of its own; True if one had to be added.

    A pad that equals EOS hides where a response ends from transformers' own reward models.
    """
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return False
    vocabulary = tokenizer.get_vocab()
    name = next(name for name in (PAD, "<|pad|>", "<sparring-pad>") if name not in vocabulary)
    tokenizer.add_special_tokens({"pad_token": name})
    return True
