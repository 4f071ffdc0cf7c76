"""`sparring init`: a configuration of the user's own, and what to type next."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console

from flows.configs.recurring import RecurringConfig
from flows.registry import find_flow, read_config
from flows.runs.console import print_json
from flows.runs.preflight import check_files
from flows.starting.config_file import require_free, write_config
from flows.starting.fitting import fit
from flows.starting.questions import Answers


def show_new_config(
    answers: Answers, output: Path, console: Console, *, force: bool, as_json: bool
) -> None:
    """Write the configuration that fits the answers, check it, and print what was found.

    Raises:
        ConfigError: A file or the model cannot be read, or `output` is there already.
    """
    require_free(output, force=force)
    found = fit(answers)
    write_config(answers, found, output)
    config = read_config(find_flow(answers.flow), output, [])
    if isinstance(config, RecurringConfig):
        check_files(config)
    limits = {
        "max_prompt_tokens": found.max_prompt_tokens,
        "max_response_tokens": found.max_response_tokens,
    }
    if as_json:
        about = {"config": str(output), "flow": answers.flow, "template": found.template}
        print_json({**about, **limits, "data": found.report.to_json()})
        return
    words = f"{answers.flow} -c {shlex.quote(str(output))}"
    console.print(f"wrote {output}. Next:", markup=False, highlight=False)
    for line in (
        f"sparring run {words} --dry-run   # the whole configuration, defaults filled in",
        f"sparring plan {words}            # the stages, and why each has to run",
        f"sparring run {words}",
    ):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
