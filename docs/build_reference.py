"""Pages of the site that are made from the code whenever it is built.

mkdocs calls `on_files` and `on_page_markdown` (infra/mkdocs.yml names this file as a hook). The
keys of a flow come from its configuration's models and the docstring under each field, the
commands from typer, the ready configurations from the comment that each file begins with.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

# `mkdocs build` is a program of its own: the checkout is not where Python looks.
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from docs.commands_page import commands_page  # noqa: E402
from docs.keys_page import keys_page  # noqa: E402
from flows.registry import CONFIGS, FLOWS  # noqa: E402


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those that are written by hand."""
    for name, text in generated_pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead to the site's own copy of CONTRIBUTING.md, which lies above the pages in the project."""
    return markdown.replace("../CONTRIBUTING.md", "contributing.md")


def generated_pages() -> dict[str, str]:
    """Return the text of each generated page by its path in `docs/`."""
    return {
        **{f"reference/{name}.md": keys_page(name) for name in FLOWS},
        "reference/commands.md": commands_page(),
        "reference/configurations.md": configurations_page(),
        "results/index.md": results_page(),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text("utf-8"),
    }


def results_page() -> str:
    """Return the list of dated results, the newest first, by their headings."""
    pages = sorted((ROOT / "docs/results").glob("*.md"), reverse=True)
    lines = [path.read_text("utf-8").splitlines()[0].removeprefix("# ") for path in pages]
    items = [f"- [{line}]({path.name})" for line, path in zip(lines, pages, strict=True)]
    about = "What was measured, when and how; negative results stay.\n\n"
    return "# Results\n\n" + about + "\n".join(items) + "\n"


def configurations_page() -> str:
    """Return the page of the files in `flows/configs`, each with the comment it begins with."""
    about = (
        "These files come with the package. `-c NAME` takes one by its name, `sparring ls configs`"
        " lists them, and a copy of one is the start of your own. `${NAME}` in a value is taken "
        "from the environment."
    )
    parts = [f"---\nsearch: {{boost: 0.5}}\n---\n\n# Ready configurations\n\n{about}\n"]
    for path in sorted(CONFIGS.glob("*.yaml")):
        lines = path.read_text("utf-8").splitlines()
        head = [line for line in lines[: _first_key(lines)] if line.startswith("#")]
        comment = "\n".join(line.removeprefix("#").removeprefix(" ") for line in head)
        parts.append(
            f"\n## {path.stem}\n\n``` {{.text .wrapped}}\n{comment.strip()}\n```\n\n"
            f'??? note "The whole of {path.name}"\n\n'
            + "".join(f"    {line}\n" for line in ["```yaml", *lines[len(head) :], "```"])
        )
    return "".join(parts)


def _first_key(lines: list[str]) -> int:
    return next(number for number, line in enumerate(lines) if line and line[0] != "#")
