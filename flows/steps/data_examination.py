"""Step 1, its end: what of the data the models will not see, said before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.examine_data import examine_data
from tasks.models.tokens.encoding import Limits
from tasks.models.tokens.examination import ExaminationConfig
from tasks.stages.artifact import Artifact
from tasks.stages.runs.context import current_run


def examined(
    data: Artifact,
    policy: Artifact,
    template: str | None,
    *,
    trained_on: Mapping[str, Limits | None],
    prompts: Mapping[str, Limits],
) -> Artifact:
    """Return the examination of prepared data; its numbers stand on the flow's run in MLflow too.

    Args:
        data: The prepared splits.
        policy: The base policy, whose tokenizer counts.
        template: Chat template by name; None is the policy's own.
        trained_on: Longest prompt and response by part; a part of None is not used.
        prompts: The same of the parts whose prompts alone are used.
    """
    limits = {name: given for name, given in trained_on.items() if given}
    config = ExaminationConfig(template=template, limits=limits, prompts=dict(prompts))
    parts = {name: data.part(name) for name in (*limits, *prompts)}
    found = examine_data(data.part("table1.json"), parts, policy, config=config)
    run = current_run()
    if run.spool is not None:
        run.spool.tags(None, {f"sparring.data.{k}": f"{v:g}" for k, v in found.metrics.items()})
    return found
