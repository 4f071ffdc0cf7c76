"""Small stand-ins for the hub's data sets: their files, columns, split names, order and habits.

What each set looks like was taken from its page on the hub; the texts are made up here. A set is a
folder of the set's own name, which `datasets` takes for it where it is below the current folder.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

_THINGS = (
    "a garden wall", "my old bicycle", "the night train", "a paper boat", "her first concert",
    "the harbour crane", "a loaf of rye bread", "our village square", "the broken kettle",
    "a winter coat", "his chess book", "the tallest birch",
)  # fmt: skip
_WAYS = ("slowly and with care", "in one bold afternoon", "with help from a friend", "step by step")


def thing(number: int) -> str:
    """Return words that no other number has."""
    return f"{_THINGS[number % len(_THINGS)]} number {number}"


def _good(number: int) -> str:
    return f"I would mend {thing(number)} {_WAYS[number % 4]}, and look at it again next week."


def _bad(number: int) -> str:
    return f"No idea about {_THINGS[number % len(_THINGS)]}."


def _gzip(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def _card(folder: Path, **splits: str) -> None:
    """Write the card that tells `datasets` which files are which split."""
    lines = [f"  - split: {split}\n    path: {path}\n" for split, path in splits.items()]
    text = "---\nconfigs:\n- config_name: default\n  data_files:\n" + "".join(lines) + "---\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(text)


def write_hh_rlhf(folder: Path) -> None:
    """Anthropic/hh-rlhf: gzipped JSON lines by subset; both dialogues whole, the end differs."""
    for subset, first in (("helpful-base", 0), ("harmless-base", 500)):
        for split, numbers in (("train", range(90)), ("test", range(200, 220))):
            rows = []
            for number in numbers:
                n = first + number
                asked = f"\n\nHuman: How do I repair {thing(n)}?\n\nAssistant: "
                # Half of the dialogues have more than one turn.
                if n % 2:
                    asked += f"What is wrong with it?\n\nHuman: It leaks at {n}.\n\nAssistant: "
                rows.append({"chosen": asked + _good(n), "rejected": asked + _bad(n)})
            _gzip(folder / subset / f"{split}.jsonl.gz", rows)


def write_alpaca(folder: Path) -> None:
    """tatsu-lab/alpaca: one parquet file; an `input` that is mostly empty, and all as `text`."""
    rows = [
        {
            "instruction": f"Describe {thing(1000 + n)}.",
            "input": "In one sentence." if n % 3 == 0 else "",
            "output": f"It is {_WAYS[n % 4]} that one sees {thing(1000 + n)}.",
            "text": f"Below is an instruction that describes a task. {n}",
        }
        for n in range(90)
    ]
    _parquet(folder / "data" / "train-00000-of-00001-a09b74b3ef9c3b56.parquet", rows)


def write_webgpt(folder: Path, *, as_script: bool = False) -> None:
    """openai/webgpt_comparisons: a loading script; the hub's copy of it is parquet.

    Several comparisons of one question follow one another, and ties have score 0.
    """
    if as_script:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "webgpt_comparisons.py").write_text("import datasets\n")
        return
    rows = []
    for n in range(90):
        score = (0.0, 1.0, -0.5)[n % 3]
        question = {
            "dataset": "eli5",
            "id": f"q{n // 3}",
            "full_text": f"Why does {thing(2000 + n // 3)} shine?",
        }
        rows.append(
            {
                "question": question,
                "quotes_0": {"title": ["A page"], "extract": ["It shines."]},
                "answer_0": f"{_good(n)} [1]",
                "tokens_0": {"prefix": [1, 2], "completion": [3]},
                "score_0": score,
                "quotes_1": {"title": ["A page"], "extract": ["It does."]},
                "answer_1": f"{_bad(n)} [1]",
                "tokens_1": {"prefix": [1, 2], "completion": [4]},
                "score_1": -score,
            }
        )
    _parquet(folder / "default" / "train" / "0000.parquet", rows)
    _card(folder, train="default/train/*.parquet")


def write_imdb(folder: Path) -> None:
    """stanfordnlp/imdb: three splits of parquet, the labelled ones sorted, all negative first."""
    for split, start in (("train", 0), ("test", 300), ("unsupervised", 600)):
        rows = []
        for n in range(200):
            label = int(n >= 100) if split != "unsupervised" else -1
            mood = "a joy from start to end" if n >= 100 else "dull and far too long"
            text = (
                f"{start + n} times we saw the film about {thing(n)}, and it was {mood}. "
                f"<br /><br />{'Watch it' if n >= 100 else 'Leave it'}, {_WAYS[n % 4]}."
            )
            rows.append({"text": text, "label": label})
        _parquet(folder / "plain_text" / f"{split}-00000-of-00001.parquet", rows)
    splits = {split: f"plain_text/{split}-*" for split in ("train", "test", "unsupervised")}
    _card(folder, **splits)


def _post(n: int) -> str:
    return (
        f"SUBREDDIT: r/relationships\nTITLE: About {thing(3000 + n)}\nPOST: I have had "
        f"{thing(3000 + n)} for years, and now my neighbour wants it. What should I do?"
    )


def write_comparisons(folder: Path) -> None:
    """CarperAI/openai_summarize_comparisons: posts without a cue, and summaries that begin with it.

    A post stands there once for each comparison of its summaries.
    """
    for split, start, count in (("train", 0, 90), ("test", 200, 8), ("valid1", 300, 24)):
        rows = [
            {
                "prompt": _post(start + n // 3),
                "chosen": f"TL;DR: Neighbour wants {thing(3000 + n)}, and I would rather keep it.",
                "rejected": f"TL;DR: {_bad(n)}",
            }
            for n in range(count)
        ]
        _parquet(folder / "data" / f"{split}-00000-of-00001.parquet", rows)
    _card(folder, **{split: f"data/{split}-*" for split in ("train", "test", "valid1")})


def write_tldr(folder: Path) -> None:
    """CarperAI/openai_summarize_tldr: posts that end with the cue; what people wrote is `label`."""
    for split, start, count in (("train", 0, 90), ("test", 400, 8), ("valid", 450, 8)):
        rows = [
            {"prompt": f"{_post(start + n)}\nTL;DR:", "label": f" I own {thing(3000 + start + n)}."}
            for n in range(count)
        ]
        _parquet(folder / "data" / f"{split}-00000-of-00001.parquet", rows)
    _card(folder, **{split: f"data/{split}-*" for split in ("train", "test", "valid")})


def write_alpaca_gpt4(folder: Path) -> None:
    """vicgalle/alpaca-gpt4: Alpaca's columns in one parquet file."""
    rows = [
        {
            "instruction": f"Explain {thing(7000 + n)}.",
            "input": "",
            "output": f"Here is what to know: {_good(7000 + n)}",
            "text": f"Below is an instruction that describes a task. {n}",
        }
        for n in range(90)
    ]
    _parquet(folder / "data" / "train-00000-of-00001-6ef3991c06080e14.parquet", rows)


def write_gsm8k(folder: Path) -> None:
    """openai/gsm8k: two configurations; solutions end in their number."""
    for subset in ("main", "socratic"):
        for split, start, count in (("train", 0, 90), ("test", 200, 20)):
            rows = [
                {
                    "question": f"There are {start + n} of {thing(8000 + start + n)} and one more?",
                    "answer": f"So it is {start + n}+1=<<{start + n}+1={start + n + 1}>>"
                    f"{start + n + 1}.\n#### {start + n + 1}",
                }
                for n in range(count)
            ]
            _parquet(folder / subset / f"{split}-00000-of-00001.parquet", rows)
    lines = [
        f"- config_name: {subset}\n  data_files:\n"
        + "".join(f"  - split: {one}\n    path: {subset}/{one}-*\n" for one in ("train", "test"))
        for subset in ("main", "socratic")
    ]
    (folder / "README.md").write_text("---\nconfigs:\n" + "".join(lines) + "---\n")


SETS: dict[str, Callable[[Path], None]] = {
    "Anthropic/hh-rlhf": write_hh_rlhf,
    "tatsu-lab/alpaca": write_alpaca,
    "openai/webgpt_comparisons": write_webgpt,
    "stanfordnlp/imdb": write_imdb,
    "CarperAI/openai_summarize_comparisons": write_comparisons,
    "CarperAI/openai_summarize_tldr": write_tldr,
    "vicgalle/alpaca-gpt4": write_alpaca_gpt4,
    "openai/gsm8k": write_gsm8k,
}
"""What writes each set into a folder."""


def write_hub(folder: Path) -> None:
    """Write every set below a folder, by its name."""
    for name, write in SETS.items():
        write(folder / name)


def write_gold(path: Path) -> None:
    """Write gold answers to every question that the sets' dialogues and instructions ask."""
    rows = []
    for first in (0, 500):
        for n in range(first, first + 90):
            asked = f"\n\nHuman: How do I repair {thing(n)}?\n\nAssistant: "
            if n % 2:
                asked += f"What is wrong with it?\n\nHuman: It leaks at {n}.\n\nAssistant: "
            rows.append({"prompt": asked, "completion": f"Gladly: {_good(n)}"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_gpt4llm(path: Path) -> None:
    """comparison_data_v2.json of GPT-4-LLM: one list of questions with two or more rated answers.

    Some of the ratings are ties.
    """
    rows = [
        {
            "user_input": f"Explain {thing(4000 + n)}.",
            "responses_and_scores": [
                {"response": _good(4000 + n), "source": "gpt4", "score": 9.0},
                {"response": _bad(4000 + n), "source": "opt", "score": 9.0 if n % 9 == 0 else 3.0},
            ],
        }
        for n in range(60)
    ]
    path.write_text(json.dumps(rows, indent=4))


def write_prompts(path: Path) -> None:
    """Write prompts of a user's own, for the policy."""
    rows = [{"prompt": f"How do I paint {thing(6000 + n)}?"} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_pairs(path: Path) -> None:
    """Write pairs of a user's own."""
    rows = [
        {
            "prompt": f"How do I sell {thing(5000 + n)}?",
            "chosen": _good(5000 + n),
            "rejected": _bad(5000 + n),
        }
        for n in range(90)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
