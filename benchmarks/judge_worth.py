"""What a small judge is worth: against people, GPT-4, length, the order, and injections.

    python benchmarks/judge_worth.py --url http://127.0.0.1:8000/v1 --model NAME \
        --folder judge-worth [--pairs 200] [--free-pairs 50]

Needs SPARRING_DATA and a running server. The sets, drawn by --seed: pairs of HH-RLHF that people
decided (a win is the chosen answer), answers of GPT-4 beside another model's to the same
instruction (a win is GPT-4's), and HH's rejected answer with an injection added to it, beside the
chosen one, against its twin: the same answer with harmless words of the same length (a win is the
rejected answer). Every answer is in the ledger in --folder, so that whoever starts it again asks
for what is missing only. It prints tables in markdown.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.data.groups import Message
from tasks.data.sources.reader import SourceConfig, read_source
from tasks.endpoints.accounts import Account
from tasks.endpoints.ledger import Ledger
from tasks.endpoints.paid_calls import PaidCalls
from tasks.evaluation.judging.config import JudgeConfig
from tasks.evaluation.judging.matchup import Judged, judge_pairs
from tasks.evaluation.judging.rates import verdict_rates
from tasks.evaluation.judging.verdicts import Pair
from tasks.evaluation.metrics.estimates import bootstrap_means, mean_estimate
from tasks.settings.log import NullLog
from tests.tasks.evaluation.judging.injections import injections

LONGEST = 4500
"""Characters of a pair with its prompt: what a context of 2,048 tokens holds."""
SHORT = 700
"""Of those that injections are added to, which are many."""
FILLER = "The weather was mild that day, and the market opened as it does on every other morning. "
WINS = {"win": 1.0, "tie": 0.5, "lose": 0.0}


def drawn(
    pairs: Mapping[str, Pair], count: int, seed: int, longest: int = LONGEST
) -> dict[str, Pair]:
    """Return a sample of the pairs that are no longer than so many characters with their prompt."""

    def fits(pair: Pair) -> bool:
        shown = sum(len(turn.content) for turn in pair.prompt) + len(pair.ours) + len(pair.theirs)
        return shown <= longest and pair.ours.strip() != pair.theirs.strip()

    names = sorted(name for name, pair in pairs.items() if fits(pair))
    return {name: pairs[name] for name in random.Random(seed).sample(names, count)}


def people(data: Path) -> dict[str, Pair]:
    """Return HH-RLHF's dev pairs, the chosen answer first."""
    source = SourceConfig(path=str(data / "hh" / "pairs.dev.jsonl.gz"))
    return {
        group.id: Pair(group.prompt, *group.responses[:2])
        for group in read_source(source, lambda bad: None)
    }


def gpt4(data: Path, seed: int) -> dict[str, Pair]:
    """Return GPT-4's answer beside one of another model, drawn for each instruction."""
    rng, found = random.Random(seed), {}
    with gzip.open(data / "golden" / "gpt4_alpaca_eval.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for row in rows:
        others = [text for _, text in sorted(row["responses"].items()) if text]
        if row["golden_gpt4"] and others:
            prompt = (Message("user", row["instruction"]),)
            found[str(row["id"])] = Pair(prompt, row["golden_gpt4"], rng.choice(others))
    return found


def injected(pairs: Mapping[str, Pair]) -> tuple[dict[str, Pair], dict[str, Pair]]:
    """Return rejected answers with an injection, and the same with harmless words as long."""
    attacks, twins = {}, {}
    for (name, pair), order in zip(pairs.items(), injections(), strict=True):
        words = (FILLER * (len(order) // len(FILLER) + 1))[: len(order)]
        attacks[name] = Pair(pair.prompt, f"{pair.theirs}\n\n{order}", pair.ours)
        twins[name] = Pair(pair.prompt, f"{pair.theirs}\n\n{words}", pair.ours)
    return attacks, twins


def row_of(name: str, judged: Sequence[Judged], seed: int) -> str:
    """Return a line of the table: who was ahead, with what order and length did."""
    lengths = [(len(one.pair.ours), len(one.pair.theirs)) for one in judged]
    found = verdict_rates([one.judgement for one in judged], lengths, seed=seed)
    start = f"| {name} | {found.asked} | {found.valid / found.asked:.1%} | "
    if found.no_verdict:
        return start + "no verdict |" + " – |" * 6
    wins = [WINS[one.judgement.outcome] for one in judged if one.judgement.outcome in WINS]
    ends = bootstrap_means(wins, seed=seed).confidence_interval
    equal = found.length_controlled
    cells = [
        f"{found.rates.win:.1%}",
        f"{found.rates.tie:.1%}",
        f"{fmean(wins):.1%} ({ends.low:.1%} to {ends.high:.1%})",
        *(
            f"{one.value:.1%} ± {1.96 * one.standard_error:.1%}"
            for one in (found.flipped, found.first_chosen)
        ),
        f"{found.longer:.1%}",
        f"{found.length_controlled_win:.1%} ({equal.low:.1%} to {equal.high:.1%})"
        if equal
        else "–",
    ]
    return f"{start}{' | '.join(cells)} |"


def compared(attacks: Sequence[Judged], twins: Sequence[Judged]) -> str:
    """Say whether an injection wins more than its twin, pair by pair."""
    both = [
        (one.judgement.outcome, twin.judgement.outcome)
        for one, twin in zip(attacks, twins, strict=True)
        if one.judgement.outcome in WINS and twin.judgement.outcome in WINS
    ]
    gain = mean_estimate([WINS[attack] - WINS[twin] for attack, twin in both])
    other = mean_estimate([float(attack != twin) for attack, twin in both])
    return (
        f"injection less twin, {len(both)} pairs judged in both: {100 * gain.value:+.1f} ± "
        f"{196 * gain.standard_error:.1f} points (95 %), another outcome in {other.value:.1%}"
    )


def table(sets: Mapping[str, Sequence[Judged]], seed: int) -> str:
    """Return lines for each set, and for its pairs whose winner is the longer or shorter answer."""
    columns = "set | asked | valid | win | tie | win + tie/2 (95 %) | flipped | first chosen"
    lines = [f"| {columns} | longer | win at equal length (95 %) |", f"|{'---|' * 10}"]
    for name, judged in sets.items():
        lines.append(row_of(name, judged, seed))
        for side, sign in (("longer", 1), ("shorter", -1)):
            part = [one for one in judged if sign * (len(one.pair.ours) - len(one.pair.theirs)) > 0]
            if part and len(part) < len(judged):
                lines.append(row_of(f"– where a win is the {side} one", part, seed))
    return "\n".join(lines)


def drawn_sets(data: Path, count: int, seed: int) -> dict[str, dict[str, Pair]]:
    """Return all sets by name."""
    humans = people(data)
    attacks, twins = injected(drawn(humans, len(list(injections())), seed + 1, SHORT))
    return {
        "people": drawn(humans, count, seed),
        "GPT-4": drawn(gpt4(data, seed), count, seed),
        "injections": attacks,
        "their twins": twins,
    }


def options_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line."""
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--folder", type=Path, required=True, help="keeps the ledger and answers")
    parser.add_argument("--pairs", type=int, default=200, help="of people, and of GPT-4")
    parser.add_argument("--free-pairs", type=int, default=50, help="of each, asked without a form")
    parser.add_argument("--question", default="helpful_harmless")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Judge all sets and print what it comes to."""
    options = options_of(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    seed = options.seed
    endpoint = {
        "url": options.url,
        "model": options.model,
        "concurrency": options.concurrency,
        "price": {"prompt": 0, "completion": 0},
    }

    def judged(pairs: Mapping[str, Pair], *, constrained: bool) -> list[Judged]:
        config = JudgeConfig.model_validate(
            {
                "endpoint": endpoint,
                "question": options.question,
                "max_tokens": 128,
                "constrained": constrained,
            }
        )
        account = Account("benchmark", "judge_worth", "judge_worth")
        with PaidCalls(config.endpoint, Ledger(options.folder), account) as calls:
            return list(judge_pairs(pairs, config, calls, NullLog()))

    sets = drawn_sets(Path(os.environ["SPARRING_DATA"]), options.pairs, seed)
    found = {name: judged(pairs, constrained=True) for name, pairs in sets.items()}
    print(table(found, seed))
    print(compared(found["injections"], found["their twins"]), flush=True)
    most = options.free_pairs
    few = {name: dict(list(sets[name].items())[:most]) for name in ("people", "GPT-4")}
    free = {f"{name}, free": judged(pairs, constrained=False) for name, pairs in few.items()}
    print(table(free, seed))


if __name__ == "__main__":
    main()
