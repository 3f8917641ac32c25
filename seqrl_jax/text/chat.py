"""Dialogues as text: written as by Bai et al. (2022), or by the chat template of a model's tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from seqrl_jax.text.examples import DataError

MODEL = "assistant"
SPEAKERS = {"system": "System", "user": "Human", MODEL: "Assistant"}
GENERATION_PROMPT = "\n\nAssistant:"
PLAIN = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '\\n\\n' + {'system': 'System', 'user': 'Human', 'assistant': 'Assistant'}[message.role] + ':' }}"
    "{{ ' ' + message.content if message.content else '' }}"
    "{% endfor %}{{ '\\n\\nAssistant:' if add_generation_prompt else '' }}"
)
"""The chat template that writes what `plain` writes, behind the token that begins a text."""


class Message(NamedTuple):
    """What one of `SPEAKERS` says."""

    role: str
    content: str


class Chat(Protocol):
    def __call__(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        """What a dialogue says. add_generation_prompt: and then that the assistant speaks. Raises: DataError where it
        cannot be written."""


def plain(messages: Sequence[Message], add_generation_prompt: bool) -> str:
    """`\\n\\nHuman: ...\\n\\nAssistant: ...`"""
    said = (f"\n\n{SPEAKERS[role]}:{content and ' '}{content}" for role, content in messages)
    return "".join(said) + (GENERATION_PROMPT if add_generation_prompt else "")


class Template:
    """A chat template, run as `transformers` runs it: in a sandbox, and here without a clock, so that every day reads
    the same."""

    def __init__(self, source: str, words: Mapping[str, str]) -> None:
        """words: what `bos_token` and its like spell. Raises: ValueError for a source that is no template."""
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _generation()]
        )
        environment.filters["tojson"] = _as_json
        environment.globals["raise_exception"] = _refuse
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ValueError(f"its chat template cannot be read ({error})") from error
        self._words = words

    def __call__(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        said = [message._asdict() for message in messages]
        try:
            return self._template.render(
                messages=said, add_generation_prompt=add_generation_prompt, tools=None, documents=None, **self._words
            )
        # What a template does is its own.
        except Exception as error:
            raise DataError(f"the chat template cannot write it ({error})") from None


def _refuse(why: str) -> None:
    raise ValueError(why)


def _as_json(value: Any, **settings: Any) -> str:
    """As `transformers` has it: what HTML would not like is left as it is."""
    import json

    return json.dumps(value, **{"ensure_ascii": False, **settings})


def _generation() -> Any:
    """An extension of jinja for `{% generation %}`, which marks what the model says and changes nothing of it."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    return Generation
