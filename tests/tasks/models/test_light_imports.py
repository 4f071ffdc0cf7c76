"""What configs are made of imports neither torch nor transformers: `sparring plan` reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LIGHT = (
    "tasks.models.tokens.templates",
    "tasks.models.tokens.encoding",
    "tasks.models.architecture",
    "tasks.models.sampling.generation",
    "tasks.models.source_checks",
    "tasks.models.server.process",
    "tasks.models.server.sampling",
    "tasks.models.scoring.scorers",
    "tasks.models.scoring.score_shards",
    "tasks.models.scoring.labelling",
    "tasks.models.tokens.text_prompts",
    "tasks.training.updates.classifier_config",
    "tasks.gold.provider",
    "tasks.gold.collection",
)
HEAVY = {"torch", "transformers", "tokenizers", "datasets", "jinja2", "sklearn"}


def test_config_modules_stay_light() -> None:
    code = (
        f"import sys; [__import__(name) for name in {LIGHT!r}]; "
        f"heavy = {HEAVY!r} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
