"""Chat templates: how a conversation is written, in our encoding and in plain transformers alike.

A model that has its own chat template uses it (`template=None`). One that has none gets a named one
from `TEMPLATES`; its Jinja source is saved as the tokenizer's chat template, so plain transformers
makes the same token ids, and `template=None` finds the name again. BOS stands first where the
tokenizer puts it, and EOS ends each of the assistant's turns.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from tasks.settings.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Template

    from tasks.data.groups import Message


class ChatTemplate(NamedTuple):
    """A named way to write a conversation."""

    body: str
    """Jinja source in the form of transformers' `chat_template`, but for a BOS in front."""
    boundary: str | None
    """The template's own text around the place where a response begins; None: it has none."""
    stops: tuple[str, ...]
    """Strings at which a sampled response has ended, because a new turn begins."""
    cue: str = ""
    """What it writes before a response that data sets are known to write too."""


_HH = """\
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}{{ '\\n\\nHuman: ' + message['content'] }}
{%- elif message['role'] == 'assistant' -%}
{{ '\\n\\nAssistant:' + (' ' if message['content'] else '') + message['content'] + eos_token }}
{%- else -%}{{ message['content'] }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '\\n\\nAssistant:' }}{%- endif -%}"""

# White space in front of an answer would join the line break before it.
_ALPACA = """\
{{- 'Below is an instruction that describes a task. ' -}}
{{- 'Write a response that appropriately completes the request.' -}}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}{{ '\\n\\n### Instruction:\\n' + message['content'] }}
{%- elif message['role'] == 'assistant' -%}
{{ '\\n\\n### Response:\\n' + message['content'].lstrip() + eos_token }}
{%- else -%}{{ '\\n\\n### Input:\\n' + message['content'] }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '\\n\\n### Response:\\n' }}{%- endif -%}"""

_TLDR = """\
{%- set announced = namespace(now=false) -%}
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
{{ ('' if announced.now else '\\n\\nTL;DR:') + (' ' if message['content'] else '') }}
{{- message['content'] + eos_token }}
{%- else -%}{{ ('\\n\\n' if not loop.first else '') + message['content'] }}
{%- endif -%}
{%- set announced.now = message['content'].endswith('TL;DR:') -%}
{%- endfor -%}
{%- if add_generation_prompt and not announced.now -%}{{ '\\n\\nTL;DR:' }}{%- endif -%}"""

_PLAIN = """\
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}{{ message['content'] + eos_token }}
{%- else -%}
{{ '\\n' if not loop.first and messages[loop.index0 - 1]['role'] != 'assistant' else '' }}
{{- message['content'] }}
{%- endif -%}
{%- endfor -%}"""

TEMPLATES: dict[str, ChatTemplate] = {
    "plain": ChatTemplate(_PLAIN, None, ()),
    "hh": ChatTemplate(_HH, ": ", ("\n\nHuman:", "\n\nAssistant:")),
    "alpaca": ChatTemplate(_ALPACA, "\n", ("\n\n### Instruction:", "\n\n### Response:")),
    "tldr": ChatTemplate(_TLDR, ": ", ("\n\nTL;DR:",), "TL;DR:"),
}
"""`plain` continues the text; `hh` is HH-RLHF's; `alpaca` is Stanford Alpaca's; `tldr` is that of
OpenAI's summaries."""

_BOS = "{{- bos_token -}}\n"
# Something must predict the first token of a response to nothing; models without BOS are trained
# with EOS between their documents.
_EOS_FOR_NOTHING = """\
{%- if not messages or messages[0]['role'] == 'assistant' or not messages[0]['content'] -%}
{{ eos_token }}
{%- endif -%}
"""


def find_template(name: str) -> ChatTemplate:
    """Look a template up by name.

    Raises:
        ConfigError: If no template has this name; the known ones are listed.
    """
    if name not in TEMPLATES:
        raise ConfigError(f"unknown chat template {name!r}{did_you_mean(name, list(TEMPLATES))}")
    return TEMPLATES[name]


def source_of(name: str, *, bos: bool) -> str:
    """Return the Jinja source of a named template, for tokenizers that put BOS first or do not."""
    template = find_template(name)
    nothing = _EOS_FOR_NOTHING if template.boundary is None else ""
    return (_BOS if bos else nothing) + template.body


def name_of(source: str) -> str | None:
    """Name of the template with this Jinja source; None for a foreign one."""
    return next(
        (name for name in TEMPLATES for bos in (True, False) if source_of(name, bos=bos) == source),
        None,
    )


def stop_strings(name: str | None) -> list[str]:
    """Strings that end a response under a named template (none for a model's own template)."""
    return [] if name is None else list(find_template(name).stops)


def clean_response(name: str | None, text: str) -> str:
    """Take outer white space off a sampled text, except under `plain`, where it is the answer's."""
    return text if name == "plain" else text.strip()


def render(
    source: str, turns: Sequence[Message], *, announce: bool, bos_token: str, eos_token: str
) -> str:
    """Write a conversation, which may be empty, as transformers writes it.

    Args:
        source: Jinja source, from `source_of`.
        turns: Oldest first.
        announce: Whether the assistant's next turn is announced.
        bos_token: What stands for BOS.
        eos_token: What stands for EOS.
    """
    return _compiled(source).render(
        messages=[turn._asdict() for turn in turns],
        add_generation_prompt=announce,
        bos_token=bos_token,
        eos_token=eos_token,
    )


@cache
def _compiled(source: str) -> Template:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # The same settings as transformers', so both render the same text.
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(source)
