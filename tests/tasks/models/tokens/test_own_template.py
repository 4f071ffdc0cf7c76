"""A model's own chat template, tried on records while they are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.data.config import DataConfig
from tasks.data.groups import Group, Message
from tasks.data.prepare import prepare
from tasks.models.tokens.own_template import read_template, template_check
from tasks.settings.errors import RecordError
from tasks.settings.log import NullLog

ALTERNATING = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "[{{ message['role'] }}] {{ message['content'] }}{% endfor %}"
)
SYSTEM = [{"role": "system", "content": "Be kind."}]


def model(folder: Path, template: str = ALTERNATING) -> list[Path]:
    folder.mkdir()
    (folder / "chat_template.jinja").write_text(template)
    settings = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "model_max_length": 9}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return sorted(folder.iterdir())


def pair(number: int, before: list[dict] | None = None) -> str:
    turns = [*(before or []), {"role": "user", "content": f"question {number}"}]
    return json.dumps({"prompt": turns, "chosen": f"yes {number}", "rejected": "no"}) + "\n"


def test_a_record_that_the_template_refuses_is_unreadable_in_every_split(tmp_path: Path) -> None:
    """As the handed case: 40 test records, and line 31 begins with a system turn."""
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_text("".join(pair(n, SYSTEM if n == 6 else None) for n in range(120)))
    test.write_text("".join(pair(1000 + n, SYSTEM if n == 30 else None) for n in range(40)))
    config = DataConfig(preferences=[{"path": str(train)}], test=[{"path": str(test)}])
    notes: list[str] = []
    log = NullLog()
    log.note = notes.append  # type: ignore[method-assign]
    check = template_check(model(tmp_path / "strict"))
    metrics = prepare(config, tmp_path / "out", log, check)
    assert metrics["test"] == 39 and metrics["bad_records"] == 2
    assert len(notes) == 1 and notes[0].startswith(f"left out 2 records, {test}:31, ")
    assert "refuses the turns system, user (Conversation roles must alternate" in notes[0]
    assert "“question 1030”" in notes[0]
    lines = (tmp_path / "out" / "bad_records.jsonl").read_text().splitlines()
    assert [(one["source"], one["line"]) for one in map(json.loads, lines)] == [
        ("test.jsonl", 31),
        ("train.jsonl", 7),
    ]


def test_every_model_is_asked(tmp_path: Path) -> None:
    kind = model(tmp_path / "kind", "{{ messages[0]['content'] }}")
    group = Group((Message("system", "Be kind."), Message("user", "Hi?")))
    template_check(kind)(group)
    with pytest.raises(RecordError, match="refuses the turns system, user"):
        template_check([*kind, *model(tmp_path / "strict")])(group)


def test_special_tokens_are_those_of_the_folder(tmp_path: Path) -> None:
    template = "{% if bos_token + eos_token != '<s></s>' %}{{ raise_exception('no') }}{% endif %}"
    template_check(model(tmp_path / "a", template))(Group((Message("user", "Hi?"),)))


@pytest.mark.parametrize(
    "given",
    ["{{ 1 }}", [{"name": "tool", "template": "x"}, {"name": "default", "template": "{{ 1 }}"}]],
)
def test_older_folders_keep_the_template_among_the_settings(tmp_path: Path, given: object) -> None:
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps({"chat_template": given}))
    template = read_template([file])
    assert template is not None and template.source == "{{ 1 }}"
    assert read_template([]) is None
