"""Chat templates: how a conversation becomes the text before a response.

A model that has its own chat template uses it (`template=None`). One that has none gets a named one
from `TEMPLATES`; its Jinja source is saved as the tokenizer's chat template, so plain transformers
renders the same, and `template=None` finds the name again.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from tasks.settings.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Template
    from transformers import PreTrainedTokenizerBase

    from tasks.data.groups import Message


class ChatTemplate(NamedTuple):
    """A named way to write a conversation."""

    source: str
    """Jinja source in the form of transformers' `chat_template`."""
    response_prefix: str
    """Stands between the prompt and a response; tokenised with the response."""
    stops: tuple[str, ...]
    """Strings at which a sampled response has ended, because a new turn begins."""


_HH = """\
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}{{ '\\n\\nHuman: ' + message['content'] }}
{%- elif message['role'] == 'assistant' -%}{{ '\\n\\nAssistant: ' + message['content'] }}
{%- else -%}{{ message['content'] }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '\\n\\nAssistant:' }}{%- endif -%}"""

_ALPACA = """\
{{- 'Below is an instruction that describes a task. ' -}}
{{- 'Write a response that appropriately completes the request.' -}}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}{{ '\\n\\n### Instruction:\\n' + message['content'] }}
{%- elif message['role'] == 'assistant' -%}{{ '\\n\\n### Response:\\n' + message['content'] }}
{%- else -%}{{ '\\n\\n### Input:\\n' + message['content'] }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '\\n\\n### Response:\\n' }}{%- endif -%}"""

_TLDR = """\
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}{{ '\\n\\nTL;DR: ' + message['content'] }}
{%- else -%}{{ ('\\n\\n' if not loop.first else '') + message['content'] }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt and not messages[-1]['content'].endswith('TL;DR:') -%}
{{ '\\n\\nTL;DR:' }}
{%- endif -%}"""

_PLAIN = """\
{%- for message in messages -%}
{{ ('\\n' if not loop.first else '') + message['content'] }}
{%- endfor -%}"""

TEMPLATES: dict[str, ChatTemplate] = {
    "plain": ChatTemplate(_PLAIN, "", ()),
    "hh": ChatTemplate(_HH, " ", ("\n\nHuman:", "\n\nAssistant:")),
    "alpaca": ChatTemplate(_ALPACA, "", ("\n\n### Instruction:", "\n\n### Response:")),
    "tldr": ChatTemplate(_TLDR, " ", ("\n\nTL;DR:",)),
}
"""`plain` continues the text; `hh` is HH-RLHF's; `alpaca` is Stanford Alpaca's; `tldr` is that of
OpenAI's summaries."""


def find_template(name: str) -> ChatTemplate:
    """Look a template up by name.

    Raises:
        ConfigError: If no template has this name; the known ones are listed.
    """
    if name not in TEMPLATES:
        raise ConfigError(f"unknown chat template {name!r}{did_you_mean(name, list(TEMPLATES))}")
    return TEMPLATES[name]


def resolve_template(tokenizer: PreTrainedTokenizerBase, template: str | None) -> str | None:
    """Which named template writes the conversation; None for a tokenizer's own foreign one.

    Raises:
        ConfigError: Unknown name, or None for a tokenizer without a chat template.
    """
    if template is not None:
        find_template(template)
        return template
    if not tokenizer.chat_template:
        raise ConfigError(
            f"the tokenizer {tokenizer.name_or_path!r} has no chat template: "
            f"name one of {', '.join(TEMPLATES)} in the config"
        )
    return name_of(tokenizer.chat_template)


def name_of(source: str) -> str | None:
    """Name of the template with this Jinja source; None for a foreign one."""
    return next((name for name, known in TEMPLATES.items() if known.source == source), None)


def stop_strings(name: str | None) -> list[str]:
    """Strings that end a response under a named template (none for a model's own template)."""
    return [] if name is None else list(find_template(name).stops)


def render_prompt(template: str | PreTrainedTokenizerBase, prompt: Sequence[Message]) -> str:
    """Write a conversation as the text that a response continues, the assistant's turn announced.

    Args:
        template: Name of a template, or a tokenizer whose own chat template is used.
        prompt: The turns so far, oldest first.

    Raises:
        ConfigError: Unknown name, a tokenizer without a chat template, or one that cannot write
            these turns.
    """
    if isinstance(template, str):
        messages = [{"role": turn.role, "content": turn.content} for turn in prompt]
        source = find_template(template).source
        return _compiled(source).render(messages=messages, add_generation_prompt=True)
    name = resolve_template(template, None)
    return _render_own(template, prompt) if name is None else render_prompt(name, prompt)


def render_response(name: str | None, response: str) -> str:
    """Write a response as it follows the rendered prompt; an empty one stays empty."""
    if name is None or not response:
        return response
    return find_template(name).response_prefix + response


def clean_response(name: str | None, text: str) -> str:
    """Undo `render_response` on sampled text: outer white space goes, except under `plain`."""
    return text if name == "plain" else text.strip()


def _render_own(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message]) -> str:
    messages = [{"role": turn.role, "content": turn.content} for turn in prompt]
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program: it may raise anything
        raise ConfigError(
            f"the chat template of {tokenizer.name_or_path!r} cannot write the roles "
            f"{[turn.role for turn in prompt]}: {error}; name a template in the config"
        ) from error


@cache
def _compiled(source: str) -> Template:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # The same settings as transformers', so both render the same text.
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(source)
