"""How many groups each stage of the real run meets, from the rows of its sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from flows.configs.base import FlowConfig
from flows.configs.exo import ExoConfig
from tasks.data.config import DataConfig
from tasks.data.sources.config import SourceConfig
from tasks.data.sources.places import open_parts
from tasks.data.splits import RM_SHARE
from tasks.data.text_config import TextsConfig
from tasks.gold.collection import GoldConfig
from tasks.stages.artifact import Artifact
from tasks.stages.call import StageCall
from tasks.stages.runs.context import StageRecord

_READ_AT_MOST = 300_000
"""Rows of a local source that are counted one by one."""


def count_rows(source: SourceConfig) -> int | None:
    """Return how many rows a source has; None where it is on the hub and does not say.

    A source with a limit gives so many groups whatever it has.
    """
    if source.limit is not None:
        return source.limit
    if source.hub is not None:
        return _rows_on_hub(source)
    return sum(1 for _, rows in open_parts(source) for _ in islice(rows, _READ_AT_MOST))


def _rows_on_hub(source: SourceConfig) -> int | None:
    from datasets import load_dataset_builder

    found = 0
    for subset in source.subsets or (None,):
        try:
            info = load_dataset_builder(
                str(source.hub), data_dir=subset, revision=source.revision
            ).info
            found += info.splits[source.split].num_examples
        except Exception:  # a set that says nothing of its size; reading it said what is wrong
            return None
    return found or None


class Amounts:
    """Groups by artifact: what the small run had, scaled by the rows that it did not read."""

    def __init__(
        self,
        config: FlowConfig,
        calls: Sequence[StageCall],
        records: Iterable[StageRecord],
        read: int,
    ) -> None:
        """Take what is known.

        Args:
            config: The user's, at full size.
            calls: The stage calls of a run with the user's numbers.
            records: The stages of the small run.
            read: Rows that it read of each file or subset.
        """
        self._config, self._read = config, read
        self._calls = {call.title: call for call in calls}
        self._small = {record.title: record.metrics for record in records}
        self.unknown: list[str] = []
        """Sources whose rows nobody says; they count as what was read."""

    def groups(self, artifact: Artifact) -> float:
        """Return how many groups an artifact of the real run holds."""
        part = artifact.subpath.split("/")[0]
        call = self._calls.get(artifact.label)
        if call is None:
            return 0.0
        if call.spec.name in ("prepare_data", "prepare_texts"):
            return self._parts.get(part, 0.0)
        return self.made_by(call, part)

    def made_by(self, call: StageCall, part: str = "") -> float:
        """Return how many groups a call makes, or reads where it makes a model."""
        config = call.arguments.get("config")
        found = sum(self.groups(one) for one in _inputs(call))
        for wanted in ("max_queries", f"{part}_prompts"):
            if limit := getattr(config, wanted, None):
                found = min(found, limit)
        if isinstance(config, GoldConfig):
            share = config.dev_share if part == "dev" else 1 - config.dev_share
            found = self.groups(call.inputs["queries"]) * share
        return found

    def ratio(self, sources: Sequence[SourceConfig]) -> float:
        """Return how many times more rows sources have than were read of them."""
        total = read = 0.0
        for source in sources:
            rows = self._rows[source.label, source.split]
            most = self._read * max(1, len(source.subsets))
            small = most if rows is None else min(rows, most)
            total, read = total + (small if rows is None else rows), read + small
        return total / read if read else 1.0

    @cached_property
    def _rows(self) -> Mapping[tuple[str, str], int | None]:
        found = {}
        for sources in self._sources().values():
            for source in sources:
                rows = found[source.label, source.split] = count_rows(source)
                if rows is None:
                    self.unknown.append(source.label)
        return found

    def _sources(self) -> dict[str, list[SourceConfig]]:
        config = self._config.sources()
        kind: type[Any] = DataConfig if isinstance(config, DataConfig) else TextsConfig
        config = config.resolved() if isinstance(config, DataConfig) else config
        values = {name: getattr(config, name) for name in kind.model_fields}
        return {
            name: value
            for name, value in values.items()
            if isinstance(value, list) and value and isinstance(value[0], SourceConfig)
        }

    @cached_property
    def _parts(self) -> dict[str, float]:
        """Groups of every part of the prepared data."""
        sources = self._sources()
        ratios = {name: self.ratio(found) for name, found in sources.items()}
        if isinstance(self._config, ExoConfig) and self._config.texts:
            small = self._small.get("prepare_texts", {})
            return {name: small.get(name, 0.0) * ratio for name, ratio in ratios.items()}
        small = self._small.get("prepare_data", {})
        data = self._config.divided_data()
        cut = not data.resolved().test
        shared = data.split.dev_from_policy != "held_out"
        reward = RM_SHARE if data.split.rm_share is None else data.split.rm_share
        # Without pairs dev and test are cut off the demonstrations.
        alone = not data.has_preferences
        parts = {"rm_train", "policy_train"} if not alone else {"demonstrations", "dev"}
        parts |= set() if shared else {"dev"}
        parts |= {"test"} if cut else set()
        pairs = sum(small.get(part, 0.0) for part in parts)
        pairs *= ratios["demonstrations" if alone else "preferences"]
        split = data.split
        test = split.test_share if cut else 0.0
        rest = pairs * (1 - test)
        policy = rest * (1 - reward)
        found = {
            "rm_train": rest * reward,
            "policy_train": policy if shared else policy * (1 - split.dev_share),
            "dev": policy * split.dev_share,
            "test": pairs * test if cut else small.get("test", 0.0) * ratios["test"],
            "policy_prompts": small.get("policy_prompts", 0.0) * ratios.get("policy_prompts", 1.0),
            "extra": small.get("extra", 0.0) * ratios.get("extra_preferences", 1.0),
            "demonstrations": rest - policy * split.dev_share,
        }
        if "demonstrations" in ratios and not alone:
            found["demonstrations"] = small.get("demonstrations", 0.0) * ratios["demonstrations"]
        queries = small.get("rm_queries", 0.0) * ratios.get("rm_queries", 1.0)
        found["rm_queries"] = queries if "rm_queries" in ratios else found["rm_train"]
        return found


def _inputs(call: StageCall) -> list[Artifact]:
    """Return the inputs of a call that hold the groups it works on."""
    roles = (
        "groups", "preferences", "apo", "prompts", "queries", "responses", "texts", "samples",
        "chosen",
    )  # fmt: skip
    return [one for role, one in call.inputs.items() if role.split(".")[0] in roles]
