"""What configs are made of imports neither torch nor transformers: `sparring plan` reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LIGHT = (
    "tasks.models.templates",
    "tasks.models.encoding",
    "tasks.models.architecture",
    "tasks.models.generation",
    "tasks.models.checks",
    "tasks.models.serving",
    "tasks.models.server_sampling",
    "tasks.models.scorers",
    "tasks.models.judgement",
    "tasks.models.labelling",
    "tasks.models.beginnings",
    "tasks.training.classifier_config",
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
