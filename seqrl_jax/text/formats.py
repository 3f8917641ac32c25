"""The community's formats: the fields of one object as an `Example`.

    {"text"}    {"prompt"}    {"prompt", "completion"}    {"prompt", "completion", "label"}
    {"prompt", "chosen", "rejected"}    {"chosen", "rejected"}    {"messages"}    {"instruction", "input", "output"}

Prompts, completions, chosen and rejected are strings or lists of messages, {"role", "content"} (TRL's conversational
form). A `Chat` writes messages: as in the data of Bai et al. (2022), `\\n\\nHuman: ...\\n\\nAssistant: ...`, or by the
chat template of a model. A string that is written in the first way is read as a dialogue. What people say within an
answer is read by the model and not learned; a `text` is learned whole, whatever it says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from seqrl_jax.strict_json import JSONError, parsed
from seqrl_jax.text.chat import GENERATION_PROMPT, MODEL, Chat, Message, plain
from seqrl_jax.text.examples import Answer, DataError, Example

Fields = Mapping[str, Any]
ROLES = {"system": "system", "user": "user", "human": "user", MODEL: MODEL}
MESSAGE = ("role", "content")
UNANSWERED = "\n\nHuman:"
OTHER = re.compile(r"\n\n(?:Human|System):")
LAST_WORD = re.compile(r"\s\S*\Z")
"""With the last space before it."""
OTHERS = re.compile(r"(\n\n(?:Human|System):.*?\n\nAssistant:)", re.DOTALL)
"""What stands between two answers of the model."""
OPENING = re.compile(r"(?:\A|\n\n)Human:(.*?)(?:\n\nAssistant:|\Z)", re.DOTALL)


class Format(NamedTuple):
    """An object with all fields of `needs` is read by `build`, which also looks at those of `takes`."""

    needs: tuple[str, ...]
    build: Callable[[Fields, Chat], Example]
    takes: tuple[str, ...] = ()


class Exchange(NamedTuple):
    """A prompt, answers to it, and what it is about, however it is written."""

    prompt: str
    answers: tuple[Answer, ...]
    topic: str


def decoded(line: bytes | str) -> Any:
    """The value of JSON text. Raises: DataError."""
    try:
        return parsed(line, constants=True)
    except JSONError as error:
        raise DataError(str(error)) from None


def read_example(value: Any, chat: Chat = plain) -> tuple[Example, list[str]]:
    """An object as an example, and the names of the fields that were not read, `messages.name` of those within
    messages.

    A field that is null is as good as missing, as tables of several formats have it. chat: writes messages.
    Raises: DataError.
    """
    if not isinstance(value, dict):
        raise DataError("not an object")
    fields = {name: field for name, field in value.items() if field is not None}
    for form in FORMATS:
        if fields.keys() >= set(form.needs):
            others = fields.keys() - {*form.needs, *form.takes}
            return form.build(fields, chat), sorted({*others, *_unread_within(fields, form.needs)})
    known = "; ".join(" and ".join(form.needs) for form in FORMATS)
    raise DataError(f"expected {known}; found {', '.join(sorted(fields)) or 'nothing'}")


def _text(fields: Fields, chat: Chat) -> Example:
    text = _string("text", fields["text"])
    if not text:
        raise DataError("an empty text")
    return Example("text", "", ((text,),), topic=_topic(text))


def _prompt(fields: Fields, chat: Chat) -> Example:
    prompt, _, topic = _exchange(fields, (), chat)
    if not prompt:
        raise DataError("an empty prompt")
    return Example("prompt", prompt, (), topic)


def _answered(fields: Fields, chat: Chat) -> Example:
    prompt, (answer,), topic = _exchange(fields, ("completion",), chat)
    if not prompt and not any(answer):
        raise DataError("an empty prompt and an empty completion")
    return Example("answer", prompt, (answer,), topic or _topic("".join(answer)))


def _labelled(fields: Fields, chat: Chat) -> Example:
    label = fields["label"]
    if label not in (True, False):
        raise DataError(f"label is {_shown(label)}, expected true or false")
    return _answered(fields, chat)._replace(form="label", good=bool(label))


def _pair(fields: Fields, chat: Chat) -> Example:
    prompt, chosen, rejected = fields["prompt"], fields["chosen"], fields["rejected"]
    if isinstance(chosen, list) and isinstance(rejected, list):
        said = _messages("chosen", chosen)
        # Some data have the prompt's messages in each answer again, or as a string what some of them say.
        before = prompt if isinstance(prompt, list) and chosen[: len(prompt)] != prompt else []
        if before or said[0].role != MODEL:
            text = "" if isinstance(prompt, list) else _string("prompt", prompt)
            if text and not any(message.content.strip() in text for message in said):
                raise DataError("the prompt is a string, and none of what the messages of chosen say")
            return _pair_of_messages(before, chosen, rejected, chat)
    return _compared(_exchange(fields, ("chosen", "rejected"), chat))


def _pair_without_prompt(fields: Fields, chat: Chat) -> Example:
    chosen, rejected = fields["chosen"], fields["rejected"]
    if isinstance(chosen, list) and isinstance(rejected, list):
        return _pair_of_messages([], chosen, rejected, chat)
    chosen, rejected = _string("chosen", chosen), _string("rejected", rejected)
    prompt = chosen[: (shared := shared_beginning(chosen, rejected))]
    return _compared(
        _exchange(
            {"prompt": prompt, "chosen": chosen[shared:], "rejected": rejected[shared:]}, ("chosen", "rejected"), chat
        )
    )


def _pair_of_messages(before: list[Any], chosen: list[Any], rejected: list[Any], chat: Chat) -> Example:
    """Two dialogues that go on from `before`, and share more messages, up to the first that differs or is the last."""
    one, other = _messages("chosen", chosen), _messages("rejected", rejected)
    most = min(len(one), len(other)) - 1
    shared = next((place for place in range(most) if one[place] != other[place]), most)
    prompt = [*(_messages("prompt", before) if before else []), *one[:shared]]
    if one[shared].role != MODEL or other[shared].role != MODEL:
        raise DataError("chosen and rejected differ before the assistant answers")
    return _compared(_spoken(prompt, {"chosen": one[shared:], "rejected": other[shared:]}, chat))


def _compared(exchange: Exchange) -> Example:
    prompt, (chosen, rejected), topic = exchange
    if chosen == rejected:
        raise DataError("chosen and rejected are equal")
    # Without a prompt the two answers themselves, in either order.
    topic = topic or json.dumps(sorted(["".join(chosen), "".join(rejected)]))
    return Example("pair", prompt, (chosen, rejected), topic)


def _dialogue(fields: Fields, chat: Chat) -> Example:
    messages = _messages("messages", fields["messages"])
    first = next((place for place, message in enumerate(messages) if message.role == MODEL), None)
    if first is None:
        prompt, _, topic = _spoken(messages, {}, chat)
        return Example("prompt", prompt, (), topic)
    prompt, answers, topic = _spoken(messages[:first], {"messages": messages[first:]}, chat)
    next_prompt = "" if messages[-1].role == MODEL else chat(messages, True)
    # The assistant may have begun.
    return Example("answer", prompt, answers, topic or _topic(plain(messages, False)), next_prompt=next_prompt)


def _instruction(fields: Fields, chat: Chat) -> Example:
    task = [_string("instruction", fields["instruction"]), _string("input", fields.get("input", ""))]
    question = Message("user", "\n\n".join(part for part in task if part))
    answer = Message(MODEL, _string("output", fields["output"]))
    prompt, answers, topic = _spoken([question], {"output": [answer]}, chat)
    return Example("answer", prompt, answers, topic)


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
    if GENERATION_PROMPT in one and GENERATION_PROMPT in other:
        speaks = one.rfind(GENERATION_PROMPT, 0, same)
        if speaks < 0 or OTHER.search(one, speaks, same):
            raise DataError("chosen and rejected differ before the assistant answers")
        return speaks + len(GENERATION_PROMPT)
    if any(text[same : same + 1].strip() for text in (one, other)):
        inside = LAST_WORD.search(one, 0, same)
        same = inside.start() if inside else 0
    return same if one[:same].strip() else 0


def _topic(text: str) -> str:
    """The first human turn of a dialogue that is written plainly, else the text itself without what asks the assistant
    at its end; without space around it."""
    opening = OPENING.search(text)
    return (opening[1] if opening else text.removesuffix(GENERATION_PROMPT)).strip()


def _exchange(fields: Fields, names: Sequence[str], chat: Chat) -> Exchange:
    """The prompt of some fields, and the answers that stand in those of these names: all strings, or behind messages
    also what the assistant says to them."""
    prompt = fields["prompt"]
    if isinstance(prompt, list):
        said = {name: _said(name, fields[name]) for name in names}
        return _spoken(_messages("prompt", prompt), said, chat)
    prompt = _string("prompt", prompt)
    if of_messages := next((name for name in names if isinstance(fields[name], list)), None):
        raise DataError(f"{of_messages} is a list of messages, and the prompt a string")
    return Exchange(prompt, tuple(_parts(prompt, _string(name, fields[name])) for name in names), _topic(prompt))


def _parts(prompt: str, text: str) -> Answer:
    """A string behind a prompt as an answer. In a dialogue, what people say at its end, unanswered, is left out."""
    if GENERATION_PROMPT not in prompt:
        return (text,)
    *answered, last = OTHERS.split(text)
    return (*answered, last.partition(UNANSWERED)[0])


def _said(name: str, value: Any) -> list[Message]:
    return _messages(name, value) if isinstance(value, list) else [Message(MODEL, _string(name, value))]


def _messages(name: str, value: Any) -> list[Message]:
    """Raises: DataError."""
    if not isinstance(value, list) or not value:
        raise DataError(f"{name} is no list of messages")
    messages = []
    for message in value:
        if not isinstance(message, dict) or not message.keys() >= set(MESSAGE):
            raise DataError(f"a message of {name} has no role and content")
        role = _string("role", message["role"])
        if role not in ROLES:
            raise DataError(f"role is {_shown(role)}, expected one of {', '.join(ROLES)}")
        messages.append(Message(ROLES[role], _string("content", message["content"])))
    return messages


def _unread_within(fields: Fields, names: Iterable[str]) -> Iterator[str]:
    """The names of what messages hold but their role and content, as `messages.name`."""
    for name in names:
        for message in fields[name] if isinstance(fields[name], list) else ():
            yield from (f"{name}.{key}" for key, value in message.items() if key not in MESSAGE and value is not None)


def _spoken(before: Sequence[Message], said: Mapping[str, Sequence[Message]], chat: Chat) -> Exchange:
    """Messages that the assistant is to answer, and how it goes on from there, by the names of the fields.

    What others say at the end is left out. Raises: DataError where the last of `before`, or the first of an answer, is
    of the wrong speaker.
    """
    if before and before[-1].role == MODEL:
        raise DataError("a prompt that ends with the assistant's message asks for nothing")
    for name, messages in said.items():
        if messages[0].role != MODEL:
            raise DataError(f"{name} does not begin with the assistant's message")
    answers = tuple(_turns(before, messages, chat) for messages in said.values())
    return Exchange(chat(before, True), answers, _topic(plain(before, True)))


def _turns(before: Sequence[Message], said: Sequence[Message], chat: Chat) -> Answer:
    """An answer in parts: by how much the text grows from where the assistant is asked to where it has answered."""
    dialogue, text, parts = [*before, *said], chat(before, True), list[str]()
    for place in range(len(before), len(dialogue)):
        if dialogue[place].role != MODEL:
            continue
        for longer in (chat(dialogue[:place], True), chat(dialogue[: place + 1], False)):
            if not longer.startswith(text):
                raise DataError("the chat template writes what was said before otherwise when the dialogue goes on")
            parts.append(longer[len(text) :])
            text = longer
    # Between the prompt and the first answer nothing is said.
    return tuple(parts[1:])


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
