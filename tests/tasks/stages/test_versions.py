"""A stage's body does not change behind its version."""

from __future__ import annotations

from pathlib import Path

from tasks.stages.versions import problems, stage_pins
from tasks.storage.files import read_json

ROOT = Path(__file__).parents[3]

STAGE = '''
from tasks.stages.prefect_task import stage_task

LIMIT = {limit}

@stage_task(version={version}, resources="cpu")
def count(*, workspace, log):
    """{text}"""
    # {text}
    return {{"count": {value}}}
'''


def _pins(folder: Path, **values: object) -> dict:
    """Pin one stage written from the template."""
    filled = {"limit": 1, "version": 1, "text": "Count.", "value": 1.0, **values}
    (folder / "count.py").write_text(STAGE.format(**filled))
    return stage_pins(folder)


def test_every_stage_is_pinned() -> None:
    """The stages of this repository are as they were pinned."""
    pinned = read_json(Path(__file__).with_name("versions.json"))
    assert not (found := problems(stage_pins(ROOT / "tasks"), pinned)), "\n".join(found)


def test_words_do_not_count(tmp_path: Path) -> None:
    """Docstrings and comments are not in the digest."""
    assert _pins(tmp_path) == _pins(tmp_path, text="Count again.")


def test_a_changed_body_asks_for_a_version(tmp_path: Path) -> None:
    """A new value in the body, or beside it, with the old version is named with what to do."""
    pinned = _pins(tmp_path)
    for change in ({"value": 2.0}, {"limit": 2}):
        (sentence,) = problems(_pins(tmp_path, **change), pinned)
        assert "raise the version" in sentence
        assert "python -m tasks.stages.versions" in sentence
    (sentence,) = problems(_pins(tmp_path, value=2.0, version=2), pinned)
    assert sentence.startswith("stage count has a new version")


def test_new_and_gone_stages_are_named(tmp_path: Path) -> None:
    """Both directions are noticed."""
    pins = _pins(tmp_path)
    assert problems(pins, {}) == ["stage count is new: run `python -m tasks.stages.versions`"]
    assert "is pinned and gone" in problems({}, pins)[0]
