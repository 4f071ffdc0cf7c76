"""Log-odds of transformers that classify, against plain transformers text by text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.data.groups import Group, Message
from tasks.models.scoring.config import ScoringConfig
from tasks.models.scoring.scorers import open_scorer
from tasks.models.scoring.text_classifier import (
    load_text_classifier,
    reading_of,
    save_text_classifier,
)
from tasks.models.scoring.text_scorer import TextClassifierScorer, text_ids
from tasks.settings.errors import ConfigError

TEXTS = ("it is 7", "2 plus 5 is 7, and so it is", "no", "what is 1 plus 2?")


@pytest.fixture
def save(tokenizer: Any, tmp_path: Path) -> Any:
    """Save a tiny classifier of so many labels: an encoder, or a decoder."""
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        LlamaConfig,
        LlamaForSequenceClassification,
    )

    small = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "pad_token_id": tokenizer.pad_token_id,
    }

    def saved(kind: str, labels: int) -> Path:
        torch.manual_seed(labels)
        if kind == "encoder":
            model: Any = BertForSequenceClassification(BertConfig(**small, num_labels=labels))
        else:
            model = LlamaForSequenceClassification(LlamaConfig(**small, num_labels=labels))
        folder = tmp_path / f"{kind}-{labels}"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return saved


def _open(folder: Path, tokenizer: Any, **wanted: Any) -> TextClassifierScorer:
    settings = {"label": None, "max_tokens": 64, **wanted}
    save_text_classifier(reading_of(load_text_classifier(folder), tokenizer, **settings), folder)
    scorer = open_scorer(folder, ScoringConfig(batch_tokens=48, precision="fp32"))
    assert isinstance(scorer, TextClassifierScorer)
    return scorer


@pytest.mark.parametrize(
    ("kind", "labels", "label"),
    [("encoder", 2, None), ("encoder", 3, 0), ("decoder", 2, "LABEL_0"), ("decoder", 1, None)],
)
def test_log_odds_are_those_of_plain_transformers(
    save: Any, tokenizer: Any, kind: str, labels: int, label: str | int | None
) -> None:
    from transformers import AutoModelForSequenceClassification

    folder = save(kind, labels)
    scorer = _open(folder, tokenizer, label=label)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    place = {None: labels - 1, "LABEL_0": 0}.get(label, label)
    expected = []
    for text in TEXTS:
        with torch.no_grad():
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0]
        chance = logits.softmax(0)[place]
        expected.append((logits[0] if labels == 1 else (chance / (1 - chance)).log()).item())
    assert scorer.log_odds(TEXTS) == pytest.approx(expected, abs=1e-4)
    # The beginning of a text and its continuation are one text.
    group = Group((Message("user", "2 plus 5"),), (" is 7, and so it is",))
    assert scorer.score([group])[0] == pytest.approx(expected[1:2], abs=1e-4)


def test_a_long_text_loses_its_end_and_that_is_said(save: Any, tokenizer: Any) -> None:
    scorer = _open(save("encoder", 2), tokenizer, max_tokens=4)
    long = "it is 7, and so it is, and so it is"
    kept, cut = text_ids(tokenizer, long, 4)
    assert cut and len(kept) == 4
    notes: list[str] = []

    class Notes:
        def note(self, text: str) -> None:
            notes.append(text)

    assert scorer.log_odds([long]) == scorer.log_odds([long + " not"])
    scorer.log_odds(["no"])
    scorer.note_cut(Notes())  # type: ignore[arg-type]
    assert notes == [
        "2 of 3 texts are longer than the 4 tokens that the classifier reads, and lost their end"
    ]


def test_what_spells_a_special_token_is_text(tokenizer: Any) -> None:
    ids, _ = text_ids(tokenizer, f"no {tokenizer.eos_token}", 64)
    assert tokenizer.eos_token_id not in ids[1:-1]


def test_a_dialogue_is_read_in_the_classifiers_own_template(save: Any, tokenizer: Any) -> None:
    folder = save("decoder", 1)
    with pytest.raises(ConfigError, match="no chat template"):
        _open(folder, tokenizer, reads="chat")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    try:
        tokenizer.save_pretrained(folder)
        scorer = _open(folder, tokenizer, reads="chat")
        asked = Group((Message("user", "what is 1 plus 2?"),), ("3", "7"))
        first, second = scorer.score([asked])[0]
    finally:
        tokenizer.chat_template = None
    assert first != second
    assert scorer.score([Group(asked.prompt, ("7",))])[0] == pytest.approx([second], abs=1e-5)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_classifier_is_kept_as_it_computes(save: Any, tokenizer: Any, kind: str) -> None:
    folder, groups = save(kind, 2), [Group((), ("it is", "no"))]
    _open(folder, tokenizer)
    scorer = open_scorer(folder, ScoringConfig(batch_tokens=48, precision="bf16"))
    whole = TextClassifierScorer(
        load_text_classifier(folder),
        scorer.tokenizer,
        scorer.reading,
        batch_tokens=48,
        precision="bf16",
    )
    kinds = [parameter.dtype for parameter in scorer.model.parameters()]
    assert kinds.count(torch.bfloat16) >= 7
    assert scorer.score(groups) == whole.score(groups)


@pytest.mark.parametrize(("labels", "label"), [(3, None), (2, "good"), (2, 5)])
def test_a_label_that_is_not_there_is_told_which_are(
    save: Any, tokenizer: Any, labels: int, label: Any
) -> None:
    model = load_text_classifier(save("encoder", labels))
    with pytest.raises(ConfigError, match=r"labels are 0 \(LABEL_0\), 1 \(LABEL_1\)"):
        reading_of(model, tokenizer, label=label, max_tokens=64)


def test_a_damaged_folder_is_named(save: Any, tokenizer: Any) -> None:
    folder = save("encoder", 2)
    _open(folder, tokenizer)
    (folder / "classifier.json").write_text('{"format": 99}')
    with pytest.raises(ConfigError, match="no classifier that can be used"):
        open_scorer(folder, ScoringConfig())
