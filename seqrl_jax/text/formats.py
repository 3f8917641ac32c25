"""The community's formats: the fields of one object as an `Example`.

    {"text"}    {"prompt"}    {"prompt", "completion"}    {"prompt", "completion", "label"}
    {"prompt", "chosen", "rejected"}    {"chosen", "rejected"}    {"messages"}    {"instruction", "input", "output"}

Prompts, completions, chosen and rejected are strings or lists of messages, {"role", "content"} (TRL's conversational
form). A dialogue is written as in the data of Bai et al. (2022): `\\n\\nHuman: ...\\n\\nAssistant: ...`, and a string
that is written so is read as a dialogue. What people say within an answer is read by the model and not learned; a
`text` is learned whole, whatever it says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from seqrl_jax.text.examples import Answer, DataError, Example

Fields = Mapping[str, Any]
SPEAKERS = {"system": "System", "user": "Human", "human": "Human", "assistant": "Assistant"}
MODEL = "assistant"
MESSAGE = ("role", "content")
ASKED, UNANSWERED = "\n\nAssistant:", "\n\nHuman:"
OTHER = re.compile(r"\n\n(?:Human|System):")
LAST_WORD = re.compile(r"\s\S*\Z")
"""With the last space before it."""
OTHERS = re.compile(r"(\n\n(?:Human|System):.*?\n\nAssistant:)", re.DOTALL)
"""What stands between two answers of the model."""
OPENING = re.compile(r"(?:\A|\n\n)Human:(.*?)(?:\n\nAssistant:|\Z)", re.DOTALL)


class Format(NamedTuple):
    """An object with all fields of `needs` is read by `build`, which also looks at those of `takes`."""

    needs: tuple[str, ...]
    build: Callable[[Fields], Example]
    takes: tuple[str, ...] = ()


def decoded(line: bytes | str) -> Any:
    """The value of JSON text. Raises: DataError."""
    try:
        return json.loads(line)
    except RecursionError:
        raise DataError("nested too deeply") from None
    except ValueError as error:
        raise DataError(f"not JSON ({error})") from None


def read_example(value: Any) -> tuple[Example, list[str]]:
    """An object as an example, and the names of the fields that were not read, `messages.name` of those within
    messages. Raises: DataError.

    A field that is null is as good as missing, as tables of several formats have it.
    """
    if not isinstance(value, dict):
        raise DataError("not an object")
    fields = {name: field for name, field in value.items() if field is not None}
    for form in FORMATS:
        if fields.keys() >= set(form.needs):
            others = fields.keys() - {*form.needs, *form.takes}
            return form.build(fields), sorted({*others, *_unread_within(fields, form.needs)})
    known = "; ".join(" and ".join(form.needs) for form in FORMATS)
    raise DataError(f"expected {known}; found {', '.join(sorted(fields)) or 'nothing'}")


def _text(fields: Fields) -> Example:
    text = _string("text", fields["text"])
    if not text:
        raise DataError("an empty text")
    return Example("text", "", ((text,),), topic=_topic(text))


def _prompt(fields: Fields) -> Example:
    prompt = _prompt_of(fields["prompt"])
    if not prompt:
        raise DataError("an empty prompt")
    return Example("prompt", prompt, (), topic=_topic(prompt))


def _answered(fields: Fields) -> Example:
    prompt = _prompt_of(fields["prompt"])
    answer = _answer_of("completion", fields["completion"], fields["prompt"], prompt)
    if not prompt and not any(answer):
        raise DataError("an empty prompt and an empty completion")
    return Example("answer", prompt, (answer,), topic=_topic(prompt, answer))


def _labelled(fields: Fields) -> Example:
    label = fields["label"]
    if label not in (True, False):
        raise DataError(f"label is {_shown(label)}, expected true or false")
    return _answered(fields)._replace(form="label", good=bool(label))


def _pair(fields: Fields) -> Example:
    chosen, rejected = fields["chosen"], fields["rejected"]
    if isinstance(chosen, list) and isinstance(rejected, list):
        before = fields["prompt"] if isinstance(fields["prompt"], list) else []
        # Some data have the prompt's messages in each answer again.
        before = before if chosen[: len(before)] != before else []
        if before or _messages("chosen", chosen)[0][0] != MODEL:
            return _pair_of_messages(before, chosen, rejected)
    prompt = _prompt_of(fields["prompt"])
    one, other = (_answer_of(name, fields[name], fields["prompt"], prompt) for name in ("chosen", "rejected"))
    return _compared(prompt, one, other)


def _pair_without_prompt(fields: Fields) -> Example:
    chosen, rejected = fields["chosen"], fields["rejected"]
    if isinstance(chosen, list) and isinstance(rejected, list):
        return _pair_of_messages([], chosen, rejected)
    chosen, rejected = _string("chosen", chosen), _string("rejected", rejected)
    shared = shared_beginning(chosen, rejected)
    prompt = chosen[:shared]
    return _compared(prompt, _parts(prompt, chosen[shared:]), _parts(prompt, rejected[shared:]))


def _pair_of_messages(before: list[Any], chosen: list[Any], rejected: list[Any]) -> Example:
    """Two dialogues that go on from `before`, and share more messages, up to the first that differs or is the last."""
    one, other = _messages("chosen", chosen), _messages("rejected", rejected)
    most = min(len(one), len(other)) - 1
    shared = next((place for place in range(most) if one[place] != other[place]), most)
    prompt = [*(_messages("prompt", before) if before else []), *one[:shared]]
    if one[shared][0] != MODEL or other[shared][0] != MODEL:
        raise DataError("chosen and rejected differ before the assistant answers")
    return _compared(_asking(prompt), _spoken("chosen", one[shared:]), _spoken("rejected", other[shared:]))


def _compared(prompt: str, chosen: Answer, rejected: Answer) -> Example:
    if chosen == rejected:
        raise DataError("chosen and rejected are equal")
    # Without a prompt the two answers themselves, in either order.
    topic = _topic(prompt) if prompt else json.dumps(sorted(["".join(chosen), "".join(rejected)]))
    return Example("pair", prompt, (chosen, rejected), topic)


def _dialogue(fields: Fields) -> Example:
    messages = _messages("messages", fields["messages"])
    first = next((place for place, (role, _) in enumerate(messages) if role == MODEL), None)
    if first is None:
        prompt = _open(messages)
        return Example("prompt", prompt, (), _topic(prompt))
    prompt = _open(messages[:first])
    answer = _spoken("messages", messages[first:])
    return Example("answer", prompt, (answer,), _topic(prompt, answer))


def _instruction(fields: Fields) -> Example:
    task = [_string("instruction", fields["instruction"]), _string("input", fields.get("input", ""))]
    prompt = _open([("user", "\n\n".join(part for part in task if part))])
    return Example("answer", prompt, ((_said(_string("output", fields["output"])),),), _topic(prompt))


FORMATS = (
    Format(("prompt", "chosen", "rejected"), _pair),
    Format(("chosen", "rejected"), _pair_without_prompt),
    Format(("prompt", "completion", "label"), _labelled),
    Format(("prompt", "completion"), _answered),
    Format(("messages",), _dialogue),
    Format(("instruction", "output"), _instruction, takes=("input",)),
    Format(("text",), _text),
    Format(("prompt",), _prompt),
)
"""The first that fits is taken."""


def shared_beginning(one: str, other: str) -> int:
    """How many characters of two texts are their prompt.

    Of dialogues, up to the last answer that both begin; the first words of their answers may be the same. Of other
    texts, up to the end of the last word that they share, so that the space behind it begins the answers: tokenizers
    read a word with the space before it. Where they share no whole word there is no prompt.

    Raises: DataError for dialogues that differ while others than the assistant speak.
    """
    same = next((place for place, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    if ASKED in one and ASKED in other:
        asked = one.rfind(ASKED, 0, same)
        if asked < 0 or OTHER.search(one, asked, same):
            raise DataError("chosen and rejected differ before the assistant answers")
        return asked + len(ASKED)
    if any(text[same : same + 1].strip() for text in (one, other)):
        inside = LAST_WORD.search(one, 0, same)
        same = inside.start() if inside else 0
    return same if one[:same].strip() else 0


def _topic(prompt: str, answer: Answer = ()) -> str:
    """The first human turn of a dialogue, else the prompt, else the text itself; without space around it."""
    opening = OPENING.search(prompt)
    return (opening[1] if opening else prompt or "".join(answer)).strip()


def _prompt_of(value: Any) -> str:
    return _asking(_messages("prompt", value)) if isinstance(value, list) else _string("prompt", value)


def _answer_of(name: str, value: Any, behind: Any, prompt: str) -> Answer:
    """An answer that is a string, or messages of which the assistant's is the first.

    behind: the field of the prompt, which may be messages, too. prompt: what it says.
    """
    if isinstance(value, list):
        return _spoken(name, _messages(name, value))
    text = _string(name, value)
    return _parts(prompt, _said(text) if isinstance(behind, list) else text)


def _parts(prompt: str, text: str) -> Answer:
    """A string behind a prompt as an answer. In a dialogue, what people say at its end, unanswered, is left out."""
    if ASKED not in prompt:
        return (text,)
    *answered, last = OTHERS.split(text)
    return (*answered, last.partition(UNANSWERED)[0])


def _messages(name: str, value: Any) -> list[tuple[str, str]]:
    """(role, content) of each message. Raises: DataError."""
    if not isinstance(value, list) or not value:
        raise DataError(f"{name} is no list of messages")
    messages = []
    for message in value:
        if not isinstance(message, dict) or not message.keys() >= set(MESSAGE):
            raise DataError(f"a message of {name} has no role and content")
        role = _string("role", message["role"])
        if role not in SPEAKERS:
            raise DataError(f"role is {_shown(role)}, expected one of {', '.join(SPEAKERS)}")
        messages.append((role, _string("content", message["content"])))
    return messages


def _unread_within(fields: Fields, names: Iterable[str]) -> Iterator[str]:
    """The names of what messages hold but their role and content, as `messages.name`."""
    for name in names:
        for message in fields[name] if isinstance(fields[name], list) else ():
            yield from (f"{name}.{key}" for key, value in message.items() if key not in MESSAGE and value is not None)


def _written(messages: Iterable[tuple[str, str]]) -> str:
    return "".join(f"\n\n{SPEAKERS[role]}: {content}" for role, content in messages)


def _open(messages: Sequence[tuple[str, str]]) -> str:
    """Messages that the assistant is to answer."""
    return _written(messages) + ASKED


def _asking(prompt: Sequence[tuple[str, str]]) -> str:
    """The same of a prompt. Raises: DataError where nobody is left to be answered."""
    if prompt and prompt[-1][0] == MODEL:
        raise DataError("a prompt that ends with the assistant's message asks for nothing")
    return _open(prompt)


def _spoken(name: str, messages: Sequence[tuple[str, str]]) -> Answer:
    """Messages of which the assistant's is the first, as an answer. What others say at the end is left out."""
    if messages[0][0] != MODEL:
        raise DataError(f"{name} does not begin with the assistant's message")
    last = max(place for place, (role, _) in enumerate(messages) if role == MODEL)
    parts, heard = [_said(messages[0][1])], list[tuple[str, str]]()
    for role, content in messages[1 : last + 1]:
        if role == MODEL:
            parts += [_open(heard), _said(content)]
            heard = []
        else:
            heard.append((role, content))
    return tuple(parts)


def _said(content: str) -> str:
    """What an assistant's message adds behind `ASKED`."""
    return content and f" {content}"


def _string(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"{name} is not a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DataError(f"{name} is no valid Unicode") from None
    return value


def _shown(value: Any) -> str:
    return repr(value)[:40]
