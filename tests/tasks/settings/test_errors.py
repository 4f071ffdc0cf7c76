"""Exit codes as the command line promises them, and suggestions for misspelt names."""

import pytest

from tasks.settings import errors
from tasks.settings.errors import closest, did_you_mean


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SparringError", 1),
        ("RecordError", 1),
        ("StageError", 1),
        ("ConfigError", 2),
        ("GateRefused", 3),
        ("BudgetExhausted", 4),
    ],
)
def test_exit_codes(name: str, code: int) -> None:
    kind = getattr(errors, name)
    assert kind.exit_code == code
    assert issubclass(kind, errors.SparringError) and issubclass(kind, ValueError)


def test_did_you_mean() -> None:
    assert did_you_mean("exo_prf", ["dpo", "exo_pref"]) == (
        "; did you mean 'exo_pref'? known: dpo, exo_pref"
    )
    assert did_you_mean("quark", ["dpo"]) == "; known: dpo"
    assert did_you_mean("x", []) == "; known: none"
    assert closest("DPO", ["dpo", "rjs"]) == "dpo"
    assert closest("zzz", ["dpo", "rjs"]) is None
