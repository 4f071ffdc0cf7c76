"""How the series of an EXO run are told apart in its plots."""

from __future__ import annotations

from tasks.evaluation.exo.config import MethodFacts
from tasks.evaluation.exo.plots import looks
from tasks.evaluation.exo.series import series_of
from tests.tasks.evaluation.exo.evaluations import FACTS, entry_of, made_run


def test_a_method_keeps_its_colour_in_every_report() -> None:
    """Another K is lighter and has another marker, another β another line style."""
    blue = FACTS["exo_rw"].colour
    entries = [
        entry_of("dpo", "a"),
        *(entry_of("exo_rw", f"{k}", responses=k, beta_pi=0.1) for k in (4, 8)),
        entry_of("exo_rw", "b", responses=4, beta_pi=0.5),
    ]
    drawn = list(looks(series_of(entries, FACTS)).values())
    alone = looks(series_of(entries[1:2], FACTS))
    assert [one.colour == blue for one in drawn] == [False, True, False, True]
    assert list(alone.values()) == [drawn[1]]
    assert (drawn[3].marker, drawn[3].dash) == (drawn[1].marker, "--") != drawn[1].dash
    assert drawn[2].marker not in (drawn[0].marker, drawn[1].marker)
    # #0072B2 mixed with 40 % white.
    assert drawn[2].colour == "#66AAD1"


def test_no_two_series_look_alike() -> None:
    made = made_run()
    methods = {**FACTS, "dpo": MethodFacts(), "rrhf": MethodFacts(title="RRHF")}
    made.branch("rrhf", float, (1.0,), seeds=1)
    drawn = looks(series_of(made.entries, methods))
    assert len(set(drawn.values())) == len(drawn)
    # A method that names no colour gets one that no other has.
    assert len({drawn[name].colour for name in ("dpo", "RRHF", "PPO", "Best-of-N")}) == 4
    assert drawn["Best-of-N"].dash != "-"
