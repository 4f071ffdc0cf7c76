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
from flows.starting.config_file import write_config
from flows.starting.fitting import Fit, fit
from flows.starting.questions import CHOSEN, SMALL, Answers, takes_gold
from tasks.data.sources.tally import share_that_allows
from tasks.gold.collection import OWN_GOLD
from tasks.settings.errors import ConfigError, RecordError
from tasks.settings.printable import printable


def show_new_config(answers: Answers, output: Path, console: Console, *, as_json: bool) -> None:
    """Write the configuration that fits the answers, check it, and print what was found.

    Raises:
        ConfigError: A file or the model cannot be read, or a run would refuse the data.
    """
    _require_other(answers, output)
    try:
        found = fit(answers)
    except RecordError as error:  # nothing has begun yet
        raise ConfigError(str(error)) from error
    if not as_json:
        show_advice(found.report, console)
    if not found.report.is_usable:
        raise ConfigError(f"a run would refuse these data, so nothing was written{_way_out(found)}")
    write_config(answers, found, output)
    config = read_config(find_flow(answers.flow), output, [])
    if isinstance(config, RecurringConfig):
        check_files(config)
    if as_json:
        about = {"config": str(output), "flow": answers.flow, "template": found.template}
        limits = {
            "max_prompt_tokens": found.max_prompt_tokens,
            "max_response_tokens": found.max_response_tokens,
            "max_new_tokens": found.max_new_tokens,
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


def _way_out(found: Fit) -> str:
    """Return the end of the refusal: how to let a run pass over what cannot be read."""
    files = [file for file in found.report.files if file.bad_records]
    if not files or not all(file.groups for file in files):
        return ""
    least = max(share_that_allows(one.bad_records, one.groups + one.bad_records) for one in files)
    return f"; --max-bad-share {least} lets a run leave the unreadable ones out"


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
    if answers.test and any(answers.test.samefile(path) for path in answers.data if path.exists()):
        raise ConfigError(
            f"--test {answers.test} is what --data names, and nobody is tested on what it was "
            "trained on: leave --test out, and a share of the pairs is cut off"
        )
    if answers.gold != CHOSEN and not takes_gold(answers.flow):
        raise ConfigError(f"the flow {answers.flow} reads no gold answers: leave out --gold")


def _choices(answers: Answers, found: Fit) -> Iterator[str]:
    """Yield what was chosen for the user, a line each."""
    yield f"model: {'a small one, made here' if answers.model == SMALL else answers.model}"
    own = "the model's own"
    yield f"template: {found.template or own}"
    yield from found.about_limits()
    shared = {
        one.one: one.first_turns for one in found.report.overlaps if one.other == str(answers.test)
    }
    for name, prompts in shared.items():
        if prompts:
            yield (
                f"{prompts:,} prompts of {answers.test} are in {name} too: a run leaves their "
                "pairs out of the training (`overlap: drop`)"
            )
    if takes_gold(answers.flow):
        yield OWN_GOLD if answers.gold == CHOSEN else f"gold: {answers.gold}"
