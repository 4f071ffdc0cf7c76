"""Steps 1 and 2 of the flow `ava`: data, the start, who judges, and what the arms learn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flows.configs.ava import TESTER, AvaConfig
from flows.configs.branches.ava_cells import Cell
from flows.steps.data_examination import examined
from flows.steps.inputs import base_policy, check_inputs, prepared_data, reward_base
from tasks.data.demonstration_pairs import AfdConfig, sides_of
from tasks.evaluation.config import EXACT_MATCH
from tasks.pair_demonstrations import pair_demonstrations
from tasks.sample_responses import sample_responses
from tasks.stages.artifact import Artifact
from tasks.training.config import PolicyConfig
from tasks.training.tqr_config import TqrUpdateConfig
from tasks.update_policy import update_policy
from tasks.update_tqr import update_tqr


class AvaInputs(NamedTuple):
    """What every arm of a run shares."""

    data: Artifact
    """The prepared splits."""
    examination: Artifact
    """What of them the models will not see."""
    start: Artifact
    """What policies are trained from, and the reference of every KL."""
    reward_start: Artifact
    """What reward models are trained from."""
    testers: Mapping[str, Artifact]
    """Who judges beside an oracle, by name: a reward model trained on pairs that no arm sees, and
    reference answers."""
    learnt: Mapping[str, Artifact]
    """What the arms learn from, by its kind: preferences, demonstrations or afd."""

    @property
    def test(self) -> Artifact:
        """Pairs whose prompts every policy answers."""
        return self.data.part("test")


def prepare_inputs(config: AvaConfig) -> AvaInputs:
    """Prepare the data, and make what the arms start from, learn from and are judged by.

    Raises:
        ConfigError: A file is missing, or a model that the configuration names.
    """
    check_inputs(config)
    own_base = reward_base(config)
    beside = [own_base] if own_base and config.reward.template is None else []
    data = prepared_data(config, beside)
    base = base_policy(config, [data.part("demonstrations"), data.part("rm_train")])
    examination = _examined(config, data, base)
    start = _start(config, base, data)
    tester = None
    if config.data.has_preferences:
        tester = _testing_model(config, own_base or start, data.part("policy_train"))
    testers = testers_of(config, tester, data.part("test"))
    learnt = {
        "preferences": data.part("rm_train"),
        "demonstrations": data.part("demonstrations"),
    }
    if any(cell.data == "afd" for cell in config.cells()):
        learnt["afd"] = _afd_pairs(config, start, data.part("demonstrations"))
    return AvaInputs(data, examination, start, own_base or start, testers, learnt)


def _testing_model(config: AvaConfig, base: Artifact, pairs: Artifact) -> Artifact:
    """Train the reward model that judges."""
    settings = TqrUpdateConfig(
        objective="bradley_terry",
        training=config.reward.training,
        limits=config.reward.limits,
        template=config.reward.template,
    )
    return update_tqr(base, [pairs], config=settings, seed=config.seed, label=TESTER)


def testers_of(
    config: AvaConfig, reward_model: Artifact | None, test: Artifact
) -> dict[str, Artifact]:
    """Return who judges beside an oracle: a testing reward model, and the test's own answers."""
    references = test if config.exact_match else None
    able = {TESTER: reward_model, EXACT_MATCH: references}
    return {name: judge for name, judge in able.items() if judge is not None}


def imitation(config: AvaConfig, cell: Cell) -> PolicyConfig:
    """Return how a policy imitates single responses, or the chosen ones of pairs."""
    return PolicyConfig(
        # The best of a pair is the chosen response.
        method="sft" if cell.data == "demonstrations" else "rjs",
        training=config.training_of(cell),
        limits=config.limits,
        template=config.model.template,
    )


def _examined(config: AvaConfig, data: Artifact, base: Artifact) -> Artifact:
    cells = config.cells()
    # Another reward model's tokenizer counts otherwise, and in its own training.
    reward = config.reward.limits if config.reward.base is None else None
    used = {cell.data for cell in cells} | ({"demonstrations"} if config.sft else set())
    trained_on = {
        "rm_train": config.limits if "preferences" in used else None,
        "policy_train": reward if config.data.has_preferences else None,
        "demonstrations": config.limits if used & {"demonstrations", "afd"} else None,
    }
    prompts = {"test": config.limits}
    return examined(data, base, config.model.template, trained_on=trained_on, prompts=prompts)


def _start(config: AvaConfig, base: Artifact, data: Artifact) -> Artifact:
    """Return the base policy, or that after SFT; a finished one that `start.policy` names stays."""
    if config.continue_from == "base" or config.start.policy:
        return base
    assert config.sft is not None, "the configuration was refused without it"
    demonstrations = [data.part("demonstrations")]
    return update_policy(base, demonstrations, config=config.sft, seed=config.seed, label="SFT")


def _afd_pairs(config: AvaConfig, start: Artifact, demonstrations: Artifact) -> Artifact:
    """Make pairs of demonstrations by who wrote them, as AfD does: its SFT, samples and pairing."""
    draws = config.rollout(config.sampling.model_copy(update={"samples": 1}))

    def written_by(side: str) -> Artifact:
        if side == "demo":
            return demonstrations
        writer = start
        if side == "sft":
            cell = Cell("demonstrations", "direct", "sft", seed=config.seed)
            writer = update_policy(
                start,
                [demonstrations],
                config=imitation(config, cell),
                seed=config.seed,
                label=f"{cell.title} s{cell.seed}",
            )
        return sample_responses(
            writer, demonstrations, config=draws, seed=config.seed, label=f"AfD, {side}"
        )

    sides = sides_of(config.afd_pairing)
    return pair_demonstrations(
        written_by(sides.chosen),
        written_by(sides.rejected),
        config=AfdConfig(pairing=config.afd_pairing),
        label=f"AfD {config.afd_pairing}",
    )
