"""A flow of three stages, the last of which wants a GPU.

python -m tests.flows.placed_flow CONFIG.json
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from flows.configs.placement import Placement
from flows.runs.console import quiet_libraries
from flows.runs.flow_decorator import sparring_flow
from flows.steps.inputs import source_artifacts
from tasks.data.prepare import DataConfig
from tasks.initialise_policy import initialise_policy
from tasks.models.base_policy import PolicyModelConfig
from tasks.prepare_data import prepare_data
from tasks.settings.base import FrozenConfig
from tasks.settings.errors import SparringError
from tasks.stages.artifact import Artifact
from tasks.training.config import PolicyConfig
from tasks.update_policy import update_policy


class PlacedFlowConfig(FrozenConfig):
    """Of the three stages."""

    data: DataConfig
    """Sources."""
    model: PolicyModelConfig
    """What is trained."""
    sft: PolicyConfig
    """How."""
    seed: int = 0
    """Of all random choices."""
    placement: Placement = Placement()
    """Where the stages run."""


@sparring_flow
def placed_flow(config: PlacedFlowConfig) -> Artifact:
    """Prepare data, start a policy, train it."""
    data = prepare_data(source_artifacts(config.data), config=config.data)
    start = initialise_policy(
        [data.part("demonstrations")], None, config=config.model, seed=config.seed
    )
    return update_policy(
        start, [data.part("demonstrations")], config=config.sft, seed=config.seed, label="SFT"
    )


def main() -> None:
    """Run it; the exit code is that of the command `sparring`."""
    quiet_libraries()
    logging.basicConfig(level="INFO", format="%(created).1f %(message)s", stream=sys.stdout)
    config = PlacedFlowConfig.model_validate_json(Path(sys.argv[1]).read_text())
    try:
        print("RESULT", placed_flow(config).digest)
    except SparringError as error:
        print(f"ERROR {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
