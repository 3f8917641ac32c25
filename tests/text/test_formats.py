import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrl_jax.text.examples import DataError, Example
from seqrl_jax.text.formats import decoded, read_example, shared_beginning

USER, OTHER_USER = {"role": "user", "content": "hi"}, {"role": "user", "content": "and?"}
HELLO, BYE = {"role": "assistant", "content": "hello"}, {"role": "assistant", "content": "bye"}
ASKED = "\n\nHuman: hi\n\nAssistant:"
THEN = "\n\nHuman: and?\n\nAssistant:"


def read(fields):
    return read_example(fields)[0]


def test_plain_formats_are_read():
    assert read({"text": "once"}) == Example("text", "", (("once",),), "once")
    assert read({"prompt": "Q: "}) == Example("prompt", "Q: ", (), "Q:")
    assert read({"prompt": "Q: ", "completion": "A"}) == Example("answer", "Q: ", (("A",),), "Q:")
    assert read({"prompt": "Q", "chosen": "yes", "rejected": "no"}) == Example("pair", "Q", (("yes",), ("no",)), "Q")


def test_kto_s_labels_are_kept():
    good, bad = (read({"prompt": "Q", "completion": "A", "label": label}) for label in (True, 0))
    assert (good.form, good.good, bad.good) == ("label", True, False)
    with pytest.raises(DataError, match="label is 'good', expected true or false"):
        read({"prompt": "Q", "completion": "A", "label": "good"})


def test_alpaca_s_fields_are_a_dialogue():
    alone = read({"instruction": "Add.", "input": "", "output": "3"})
    assert alone == Example("answer", "\n\nHuman: Add.\n\nAssistant:", ((" 3",),), "Add.")
    example, unread = read_example({"instruction": "Add.", "input": "1 2", "output": "3", "text": "all of it"})
    assert example.prompt == "\n\nHuman: Add.\n\n1 2\n\nAssistant:" and unread == ["text"]


def test_messages_are_one_dialogue_whose_every_answer_is_the_model_s():
    assert read({"messages": [USER, HELLO]}) == Example("answer", ASKED, ((" hello",),), "hi")
    going_on = read({"messages": [USER, HELLO, OTHER_USER, BYE, USER]})
    assert going_on.answers == ((" hello", THEN, " bye"),) and going_on.next_prompt == f"{ASKED} hello{THEN} bye{ASKED}"
    assert read({"messages": [USER]}) == Example("prompt", ASKED, (), "hi")
    system = {"role": "system", "content": "Be brief."}
    assert read({"messages": [system, USER, HELLO]}).prompt == "\n\nSystem: Be brief." + ASKED


def test_dialogues_that_the_assistant_begins_are_about_what_people_say_then():
    """Else all that begin so would be one prompt, and none could be held out."""
    talk = {"messages": [HELLO, USER, BYE]}
    assert read(talk) == Example("answer", ASKED[-12:], ((" hello", ASKED, " bye"),), "hi")
    assert read({"messages": [HELLO]}).topic == "Assistant: hello"
    text = {"prompt": ASKED[-12:], "completion": f" hello{ASKED} bye"}
    assert read(text) == read(talk)
    pair = {"chosen": [HELLO, USER], "rejected": [BYE, USER]}
    assert read(pair).topic == read({"chosen": [BYE], "rejected": [HELLO]}).topic != ""


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": [USER], "chosen": [HELLO], "rejected": [BYE]},
        {"prompt": [USER], "chosen": [USER, HELLO], "rejected": [USER, BYE]},
        {"prompt": "hi", "chosen": [USER, HELLO], "rejected": [USER, BYE]},
        {"prompt": ASKED, "chosen": [USER, HELLO], "rejected": [USER, BYE]},
        {"chosen": [USER, HELLO], "rejected": [USER, BYE]},
        {"prompt": [USER], "chosen": "hello", "rejected": "bye"},
        {"chosen": ASKED + " hello", "rejected": ASKED + " bye"},
        {"prompt": ASKED, "chosen": " hello", "rejected": " bye"},
    ],
)
def test_conversations_and_strings_that_say_the_same_are_the_same(fields):
    assert read(fields) == Example("pair", ASKED, ((" hello",), (" bye",)), "hi")


def test_answers_that_share_their_first_words_keep_them():
    fields = {"chosen": ASKED + " I think so", "rejected": ASKED + " I think not"}
    assert read(fields).answers == ((" I think so",), (" I think not",))


def test_dialogues_that_part_early_share_only_what_stands_before():
    """What people say after the first answer that differs belongs to both, and is not the model's."""
    fields = {"chosen": ASKED + " hello" + THEN + " bye", "rejected": ASKED + " go away"}
    expected = Example("pair", ASKED, ((" hello", THEN, " bye"), (" go away",)), "hi")
    assert read(fields) == expected
    other = {"role": "assistant", "content": "go away"}
    assert read({"chosen": [USER, HELLO, OTHER_USER, BYE], "rejected": [USER, other]}) == expected
    unanswered = {**fields, "rejected": ASKED + " go away\n\nHuman: no"}
    assert read(unanswered) == expected
    for rejected in ("\n\nHuman: ho\n\nAssistant: hello", [{"role": "user", "content": "ho"}, HELLO]):
        chosen = ASKED + " hello" if isinstance(rejected, str) else [USER, HELLO]
        with pytest.raises(DataError, match="differ before the assistant answers"):
            read({"chosen": chosen, "rejected": rejected})


def test_an_empty_answer_is_an_answer():
    assert read({"prompt": "Q", "chosen": "a", "rejected": ""}).answers == (("a",), ("",))
    assert read({"chosen": "so it is", "rejected": "so"}) == Example("pair", "so", ((" it is",), ("",)), "so")
    assert read({"prompt": "Q", "completion": ""}).answers == (("",),)


def test_without_a_prompt_the_pair_itself_is_the_topic_in_either_order():
    one, other = read({"chosen": "a", "rejected": "b"}), read({"chosen": "b", "rejected": "a"})
    assert one.topic == other.topic and one.answers != other.answers


@pytest.mark.parametrize(
    ("one", "other", "prompt"),
    [
        ("the cat sat", "the car sat", "the"),
        ("the cat sat", "the cat", "the cat"),
        ("the cat\nsat", "the cat sat", "the cat"),
        ("a\nxy", "a\nxz", "a"),
        ("a  xy", "a  xz", "a "),
        (" yes", " no", ""),
        ("\n\nyes", "\n\nno", ""),
        ("abc", "abd", ""),
        ("catalogue", "cat", ""),
    ],
)
def test_prompts_end_with_a_word_and_answers_begin_with_its_space(one, other, prompt):
    for first, second in ((one, other), (other, one)):
        assert shared_beginning(first, second) == len(prompt)
    assert one.startswith(prompt) and other.startswith(prompt)


def test_dialogues_in_which_people_differ_are_no_pair_of_answers():
    """Nor where the assistant had answered before, in strings as in messages."""
    later = "\n\nHuman: so?\n\nAssistant:"
    other = {"role": "user", "content": "so?"}
    texts = {"chosen": f"{ASKED} hello{THEN} bye", "rejected": f"{ASKED} hello{later} bye"}
    messages = {"chosen": [USER, HELLO, OTHER_USER, BYE], "rejected": [USER, HELLO, other, BYE]}
    for fields in (texts, messages):
        with pytest.raises(DataError, match="differ before the assistant answers"):
            read(fields)


@pytest.mark.parametrize(
    "behind", [{}, {"completion": [BYE]}, {"completion": "so"}, {"chosen": [BYE], "rejected": [HELLO]}]
)
def test_a_prompt_that_ends_with_an_answer_asks_for_nothing(behind):
    with pytest.raises(DataError, match="ends with the assistant's message"):
        read({"prompt": [USER, HELLO], **behind})
    going_on = {"prompt": [USER, HELLO], "chosen": [OTHER_USER, BYE], "rejected": [OTHER_USER, HELLO]}
    assert read(going_on) == Example("pair", f"{ASKED} hello{THEN}", ((" bye",), (" hello",)), "hi")


def test_fields_that_nobody_reads_are_named():
    assert read_example({"prompt": "Q", "completion": "A", "lable": False, "id": 3})[1] == ["id", "lable"]
    assert read_example({"prompt": "Q", "chosen": None, "rejected": None})[1] == []


def test_fields_of_messages_that_nobody_reads_are_named():
    calls, named = HELLO | {"tool_calls": [{"name": "add"}]}, USER | {"name": "Ada", "weight": None}
    assert read_example({"messages": [named, calls, named, HELLO]})[1] == ["messages.name", "messages.tool_calls"]
    pair = {"prompt": [USER], "chosen": [calls], "rejected": [BYE], "id": 3}
    assert read_example(pair)[1] == ["chosen.tool_calls", "id"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ([1], "not an object"),
        ({"text": 3}, "text is not a string"),
        ({"text": ""}, "an empty text"),
        ({"text": "\ud800"}, "no valid Unicode"),
        ({"texts": "a"}, "expected .*text; prompt; found texts"),
        ({}, "found nothing"),
        ({"prompt": ""}, "an empty prompt"),
        ({"prompt": "", "completion": ""}, "an empty prompt and an empty completion"),
        ({"prompt": "", "chosen": "a", "rejected": "a"}, "chosen and rejected are equal"),
        ({"messages": []}, "messages is no list of messages"),
        ({"messages": ["hi"]}, "a message of messages has no role and content"),
        ({"messages": [{"role": "tool", "content": "3"}]}, "role is 'tool', expected one of system"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "content is not a string"),
        ({"prompt": "ho", "chosen": [USER, HELLO], "rejected": [USER, BYE]}, "none of what the messages of chosen say"),
        ({"prompt": 3, "chosen": [USER, HELLO], "rejected": [USER, BYE]}, "prompt is not a string"),
        ({"prompt": "hi", "completion": [HELLO]}, "completion is a list of messages, and the prompt a string"),
        ({"prompt": [USER], "completion": [USER]}, "completion does not begin with the assistant's message"),
    ],
)
def test_what_is_no_example_is_refused_with_a_reason(fields, why):
    with pytest.raises(DataError, match=why):
        read_example(fields)


NAMES = st.sampled_from(["text", "prompt", "completion", "label", "chosen", "rejected", "messages"])
VALUES = [None, True, 3, "", "hi", "\n\nAssistant: x\n\nHuman: y", [], ["hi"], [USER], [HELLO, OTHER_USER, BYE], {}]


@given(st.dictionaries(NAMES, st.sampled_from(VALUES), max_size=4))
def test_nothing_that_is_json_is_more_than_refused(fields):
    try:
        example, _ = read_example(fields)
    except DataError:
        return
    assert all(len(answer) % 2 == 1 for answer in example.answers)


@given(st.binary(max_size=40))
def test_nothing_that_is_bytes_is_more_than_refused(noise):
    with contextlib.suppress(DataError):
        decoded(noise)


def test_deep_brackets_are_a_bad_line():
    with pytest.raises(DataError, match="nested too deeply"):
        decoded(b"[" * 100_000)
