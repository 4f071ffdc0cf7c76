"""`flip/FLOW`: a byte flipped or a tail cut in any kind of file, then a verb, then a full check.

The damage must be named or do no harm: what a verb shows, exports and stores is as in the sound
world, or the file is named. `run --verify` comes to the sound digests, or refuses and names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tasks.stages.manifest import load_manifest
from tests.torture import oracle
from tests.torture.commands import Outcome, run
from tests.torture.damage import PREFECT, Damage, draw_damage, inflict
from tests.torture.trials import Arena, Report, trial
from tests.torture.verbs import VERBS, VERIFIED, Sound, exported, lines_of, new_lines
from tests.torture.worlds import Worlds

_SOUND = Sound()


def try_flip(worlds: Worlds, flow: str, seed: int) -> Report:
    """Do one trial."""
    with trial(worlds, "flip", flow, seed) as (report, arena):
        damage = draw_damage(arena.shell.folder, arena.draws)
        verb = arena.draws.choice(sorted(VERBS))
        report.injected = f"{damage}; then `{verb}`"
        if damage.kind == PREFECT:
            arena = replace(arena, shell=replace(arena.shell, variables={}))
        names = damage.names() | titles(arena, damage)
        before = stored(arena)
        inflict(arena.shell.folder, damage)
        outcome = run(arena.shell, *VERBS[verb].words(arena.world))
        report.sentence = outcome.sentence
        report.fail(judge_verb(arena, verb, outcome, names, _SOUND))
        if verb.startswith("gc"):
            lost = {one for one in before - stored(arena) if not _is_named(one, names)}
            report.fail(f"gc deleted {one}, which the run needs" for one in sorted(lost))
        last = run(arena.shell, *VERBS[VERIFIED].words(arena.world))
        report.fail(judge_end(arena, last, names))
        if arena.shell.variables:
            name = damage.path.name
            report.fail(oracle.nothing_left(arena.shell, worlds.prefect_db, arena.busy, name))
        else:
            run(arena.shell, "down")
    return report


def judge_verb(
    arena: Arena, verb: str, outcome: Outcome, names: set[str], sound: Sound
) -> Iterator[str]:
    """Yield what is wrong with what a verb did in a damaged world."""
    yield from oracle.ended_well(outcome)
    yield from oracle.same_digests(arena.shell, arena.world.keys, whole=False)
    code, lines, files = sound.of(arena.worlds, arena.world, verb)
    told = new_lines(lines_of(outcome, arena.shell.folder), lines)
    if outcome.code != code and not _is_named(outcome.text, names):
        yield f"`{verb}` ended with {outcome.code}, soundly {code}, and names nothing of {names}"
    elif VERBS[verb].reads and told and not _is_named("\n".join(told), names):
        yield f"`{verb}` says other things, and names nothing of {names}: {told[:3]}"
    if outcome.code == 0 and dict(exported(arena.shell)) != files:
        yield f"`{verb}` exported other bytes than from the sound world"


def judge_end(arena: Arena, last: Outcome, names: set[str]) -> Iterator[str]:
    """Yield what is wrong after the full check: the sound digests, or a refusal with the name."""
    yield from oracle.ended_well(last, (0, 1, 2))
    if last.code:
        yield from oracle.same_digests(arena.shell, arena.world.keys, whole=False)
        if not _is_named(last.text, names):
            yield f"`{VERIFIED}` refused, and names nothing of {names}: {last.sentence}"
        return
    yield from oracle.same_digests(arena.shell, _with_promotion(arena))
    yield from oracle.whole_outputs(arena.shell, verify=True)


def _with_promotion(arena: Arena) -> dict[str, str]:
    """Return the sound digests, and those of what a promotion made besides."""
    found = arena.shell.finished_keys()
    more = {name: one for name, one in found.items() if name.startswith("decide_promotion/")}
    return {**more, **arena.world.keys}


def titles(arena: Arena, damage: Damage) -> set[str]:
    """Return what people call the artifact whose file is damaged, if it is one's."""
    found = set()
    for name in arena.world.keys:
        stage, _, key = name.partition("/")
        if any(one in key for one in damage.names() if len(one) == 8):
            manifest = load_manifest(arena.world.shell.home, stage, key)
            label = manifest.label if manifest else ""
            found.add(f"{stage} · {label}" if label else stage)
    return found


def stored(arena: Arena) -> set[str]:
    """Return the folders of outputs that are there."""
    home = arena.shell.home
    return {
        str(Path(one).relative_to(home.store)) for one in home.store.glob("*/*") if one.is_dir()
    }


def _is_named(text: str, names: set[str]) -> bool:
    """Whether a text names the damage; lines may be broken anywhere."""
    flat = "".join(text.split())
    return any("".join(name.split()) in flat for name in names)
