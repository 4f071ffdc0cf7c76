"""AVA as a way to train a policy directly: the policy of a TQR, from pairs or the better responses.

Its losses are those of the stage `update_tqr`.
"""

from __future__ import annotations

from tasks.training.methods.method import Sweepable, TqrMethod

_IRL = (Sweepable("lam", "λ"), Sweepable("c_kl", "c_KL"))

AVA_P = TqrMethod(
    name="ava_p",
    title="AVA-p",
    learns_from="preferences",
    sweepable=(*_IRL, Sweepable("b_neg", "b_neg"), Sweepable("c_cer", "c_cer")),
    rivals=("dpo", "exo_pref"),
    colour="#882255",
    marker="h",
)
AVA_D = TqrMethod(
    name="ava_d",
    title="AVA-d on chosen",
    learns_from="demonstrations",
    sweepable=_IRL,
    rivals=("sft",),
    colour="#44AA99",
    marker="p",
)
