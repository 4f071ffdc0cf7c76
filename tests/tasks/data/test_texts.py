"""Plain texts: each in the part it is for, none where it would leak, pieces that join again."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.data.files import read_groups
from tasks.data.groups import Group, finished
from tasks.data.text_config import TextsConfig
from tasks.data.texts import _pieces, prepare_texts
from tasks.settings.errors import ConfigError, RecordError
from tasks.settings.log import NullLog


def write(path: Path, *rows: dict) -> list[dict]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [{"path": str(path)}]


def reviews(path: Path, *texts: str, label: int | None = None) -> list[dict]:
    return write(path, *({"text": text, "label": label} for text in texts))


def part_of(path: Path, part: Path, which: slice) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        part.write_text("".join(islice(lines, which.start, which.stop, which.step)))
    return [{"path": str(part)}]


def responses(folder: Path) -> list[str]:
    return [text for group in read_groups(folder) for text in group.responses]


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, list[dict]]:
    return {
        "corpus": reviews(tmp_path / "corpus", "a b c d e", "held out", "a prompt", "f  g", "f g"),
        "prompts": reviews(tmp_path / "prompts", "a prompt", "a prompt", "another", "held out"),
        "labelled": write(
            tmp_path / "labelled",
            {"text": "a prompt", "label": 1, "id": "train/1"},
            {"text": "another", "label": None},
            {"text": "held out", "label": 0},
            {"text": " ", "label": 0},
        ),
        "held_out": reviews(tmp_path / "held_out", "held out", "kept", label=0),
    }


def test_every_part_gets_its_texts_and_nothing_leaks(sources: dict, tmp_path: Path) -> None:
    config = TextsConfig(**sources, piece_words=2)
    metrics = prepare_texts(config, tmp_path / "output", NullLog())
    parts = {part: responses(tmp_path / "output" / part) for part in sources}
    assert parts == {
        "held_out": ["held out", "kept"],
        "prompts": ["a prompt", "another"],
        "labelled": ["a prompt"],
        "corpus": ["a b", " c d", " e", "f  g"],
    }
    assert metrics == {
        "held_out": 2,
        "test_prompts": 0,
        "prompts": 2,
        "labelled": 1,
        "corpus": 4,
        "dropped/prompts/repeated": 1,
        "dropped/prompts/in_held_out": 1,
        "dropped/labelled/unlabelled": 1,
        "dropped/labelled/in_held_out": 1,
        "dropped/labelled/empty": 1,
        "dropped/corpus/in_held_out": 1,
        "dropped/corpus/in_prompts": 1,
        # Texts that differ in white space alone are one text.
        "dropped/corpus/repeated": 1,
        "bad_records": 0,
    }
    (labelled,) = read_groups(tmp_path / "output/labelled")
    assert labelled.scores == (1.0,) and labelled.extra == {"record": "train/1"}


def test_texts_of_the_test_prompts_leave_what_is_trained_on(sources: dict, tmp_path: Path) -> None:
    """They may measure the classifier too, as IMDB's test split does both."""
    tests = reviews(tmp_path / "tests", "another", "held out", "f g")
    config = TextsConfig(**sources, test_prompts=tests, piece_words=9)
    metrics = prepare_texts(config, tmp_path / "output", NullLog())
    parts = ("held_out", "test_prompts", "prompts", "corpus")
    assert {part: responses(tmp_path / "output" / part) for part in parts} == {
        "held_out": ["held out", "kept"],
        "test_prompts": ["another", "held out", "f g"],
        "prompts": ["a prompt"],
        "corpus": ["a b c d e"],
    }
    assert metrics["dropped/prompts/in_test_prompts"] == 1
    assert metrics["dropped/corpus/in_test_prompts"] == 2


def test_without_a_corpus_there_is_none(sources: dict, tmp_path: Path) -> None:
    config = TextsConfig(prompts=sources["prompts"])
    metrics = prepare_texts(config, tmp_path / "output", NullLog())
    assert metrics["corpus"] == 0 and metrics["prompts"] == 3


def test_only_the_last_piece_of_a_text_ends(sources: dict, tmp_path: Path) -> None:
    config = TextsConfig(**sources, piece_words=2)
    prepare_texts(config, tmp_path / "output", NullLog())
    groups = list(read_groups(tmp_path / "output/corpus"))
    assert [finished(group) for group in groups] == [(False,), (False,), (True,), (True,)]
    assert len({group.id for group in groups}) == 4
    assert all(group.prompt == () for group in groups)


@given(st.text(min_size=1).map(str.strip).filter(bool), st.integers(1, 4))
def test_pieces_join_to_the_text(text: str, words: int) -> None:
    pieces = [piece.responses[0] for piece in _pieces(Group((), (text,), id="t"), words)]
    assert "".join(pieces) == text
    assert all(len(piece.split()) <= words for piece in pieces)
    assert all(len(piece.split()) == words for piece in pieces[:-1])


def test_a_column_of_another_name_and_no_classifier(tmp_path: Path) -> None:
    corpus = write(tmp_path / "a", {"body": "one two"})
    prompts = write(tmp_path / "b", {"body": "three four"})
    config = TextsConfig(
        corpus=[corpus[0] | {"fields": {"text": "body"}}],
        prompts=[prompts[0] | {"fields": {"text": "body"}}],
    )
    metrics = prepare_texts(config, tmp_path / "output", NullLog())
    assert metrics["corpus"] == metrics["prompts"] == 1
    assert responses(tmp_path / "output/labelled") == []
    assert config.local_files() == [tmp_path / "b", tmp_path / "a"]


@pytest.mark.parametrize(
    ("part", "rows", "words"),
    [
        ("labelled", [{"text": "a"}], r"nothing is left for labelled \(1 unlabelled\)"),
        ("held_out", [{"text": "", "label": 1}], r"nothing is left for held_out \(1 empty\)"),
        ("corpus", [{"text": "held out"}], r"nothing is left for corpus \(1 in_held_out\)"),
    ],
)
def test_a_part_that_stays_empty_says_why(
    sources: dict, tmp_path: Path, part: str, rows: list[dict], words: str
) -> None:
    changed = sources | {part: write(tmp_path / "changed", *rows)}
    with pytest.raises(ConfigError, match=words):
        prepare_texts(TextsConfig(**changed), tmp_path / "output", NullLog())


def test_bad_input_is_named(sources: dict, tmp_path: Path) -> None:
    wrong = [{"text": "a", "label": label} for label in (7, 8)]
    bad = write(tmp_path / "bad", *wrong, {"text": "b", "label": 1})
    with pytest.raises(RecordError, match="2 of 3 records cannot be read"):
        prepare_texts(TextsConfig(**sources | {"prompts": bad}), tmp_path / "output", NullLog())
    with pytest.raises(ConfigError, match="there is no data file at nowhere"):
        config = TextsConfig(**sources | {"corpus": [{"path": "nowhere"}]})
        prepare_texts(config, tmp_path / "other", NullLog())
    assert not (tmp_path / "other").exists()
    with pytest.raises(ValueError, match="is read as 'pairs', plain texts as 'texts'"):
        TextsConfig(**sources | {"corpus": [{"path": "a", "format": "pairs"}]})


def test_real_reviews_lose_only_what_leaks(real_data: Path, tmp_path: Path) -> None:
    """The dev reviews are drawn from train: they must be gone from every other part."""
    imdb = real_data / "imdb"
    # Every eighth of 25,000 reviews, which are sorted by label.
    train = part_of(imdb / "train.jsonl.gz", tmp_path / "train", slice(0, None, 8))
    config = TextsConfig(
        corpus=part_of(imdb / "unsup.jsonl.gz", tmp_path / "unsup", slice(500)),
        prompts=train,
        labelled=train,
        held_out=[{"path": str(imdb / "dev.jsonl.gz")}],
    )
    metrics = prepare_texts(config, tmp_path, NullLog())
    assert metrics["held_out"] == 500 and metrics["bad_records"] == 0
    assert metrics["dropped/labelled/in_held_out"] > 30
    lost = sum(count for name, count in metrics.items() if name.startswith("dropped/labelled"))
    assert metrics["labelled"] + lost == 3125
    assert metrics["corpus"] > 600
    assert not any("<br" in text for text in responses(tmp_path / "corpus"))
    held_out = {group.id for group in read_groups(tmp_path / "held_out")}
    assert held_out.isdisjoint(group.id for group in read_groups(tmp_path / "prompts"))
