"""`sparring init`: a configuration of the user's own, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from flows.cli.doctor import show_advice
from flows.configs.recurring import RecurringConfig
from flows.registry import find_flow, read_config
from flows.runs.console import print_json
from flows.runs.preflight import check_files
from flows.starting.config_file import require_free, write_config
from flows.starting.fitting import Fit, fit
from flows.starting.questions import CHOSEN, SMALL, Answers, takes_gold
from tasks.gold.collection import OWN_GOLD
from tasks.settings.errors import ConfigError
from tasks.settings.printable import printable


def show_new_config(
    answers: Answers, output: Path, console: Console, *, force: bool, as_json: bool
) -> None:
    """Write the configuration that fits the answers, check it, and print what was found.

    Raises:
        ConfigError: A file or the model cannot be read, or `output` is there already.
    """
    require_free(output, force=force)
    _require_other(answers, output)
    found = fit(answers)
    if not as_json:
        show_advice(found.report, console)
    if not found.report.is_usable:
        raise ConfigError("a run would refuse these data, so nothing was written")
    write_config(answers, found, output)
    config = read_config(find_flow(answers.flow), output, [])
    if isinstance(config, RecurringConfig):
        check_files(config)
    if as_json:
        about = {"config": str(output), "flow": answers.flow, "template": found.template}
        limits = {
            "max_prompt_tokens": found.max_prompt_tokens,
            "max_response_tokens": found.max_response_tokens,
        }
        print_json({**about, **limits, "data": found.report.to_json()})
        return
    words = f"{answers.flow} -c {shlex.quote(str(output))}"
    for line in (
        *_choices(answers, found),
        f"wrote {output}. Next:",
        f"  sparring run {words} --dry-run   # the whole configuration, defaults filled in",
        f"  sparring plan {words}            # the stages, and why each has to run",
        f"  sparring run {words}",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _require_other(answers: Answers, output: Path) -> None:
    """Refuse to write over what is read, also with `--force`, and names that YAML cannot hold."""
    read = [*answers.data, *([answers.test] if answers.test else []), Path(answers.gold)]
    for path in read:
        if path.exists() and output.exists() and path.samefile(output):
            raise ConfigError(f"{output} holds the data themselves: name another --output")
    for path in (*read, output):
        if printable(str(path)) != str(path):
            raise ConfigError(
                f"the name {printable(str(path))} cannot be written into a configuration: "
                "rename the file"
            )
    if answers.gold != CHOSEN and not takes_gold(answers.flow):
        raise ConfigError(f"the flow {answers.flow} reads no gold answers: leave out --gold")


def _choices(answers: Answers, found: Fit) -> Iterator[str]:
    """Yield what was chosen for the user, a line each."""
    yield f"model: {'a small one, made here' if answers.model == SMALL else answers.model}"
    own = "the model's own"
    yield f"template: {found.template or own}"
    yield (
        f"limits: {found.max_prompt_tokens} tokens of a prompt, "
        f"{found.max_response_tokens} of a response"
    )
    if takes_gold(answers.flow):
        yield OWN_GOLD if answers.gold == CHOSEN else f"gold: {answers.gold}"
