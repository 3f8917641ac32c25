import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqrl_jax.text.chat import PLAIN, SPEAKERS, Message, Template, plain
from seqrl_jax.text.examples import DataError
from seqrl_jax.text.formats import read_example

CHATML = (
    "{{ bos_token }}{% for message in messages %}\n"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}\n"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
WRITTEN = Template(CHATML, {"bos_token": "<s>"})
TALK = [Message("user", "hi"), Message("assistant", "hello"), Message("user", "and?"), Message("assistant", "bye")]
PROMPT = "<s><|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
BETWEEN = "<|im_start|>user\nand?<|im_end|>\n<|im_start|>assistant\n"


def messages(*places):
    return [TALK[place]._asdict() for place in places]


@given(st.lists(st.builds(Message, st.sampled_from(list(SPEAKERS)), st.text())), st.booleans())
def test_the_template_of_plain_dialogues_writes_them(dialogue, asked):
    assert Template(PLAIN, {"bos_token": "<s>"})(dialogue, asked) == "<s>" + plain(dialogue, asked)


@pytest.mark.parametrize(
    ("fields", "answers"),
    [
        ({"prompt": messages(0)}, ()),
        ({"messages": messages(0, 1, 2, 3)}, (("hello<|im_end|>\n", BETWEEN, "bye<|im_end|>\n"),)),
        ({"prompt": messages(0), "completion": messages(1)}, (("hello<|im_end|>\n",),)),
        ({"prompt": messages(0), "completion": "hello"}, (("hello<|im_end|>\n",),)),
        ({"instruction": "hi", "output": "hello"}, (("hello<|im_end|>\n",),)),
        (
            {"prompt": messages(0), "chosen": messages(1), "rejected": messages(3)},
            (("hello<|im_end|>\n",), ("bye<|im_end|>\n",)),
        ),
        (
            {"chosen": messages(0, 1, 2, 3), "rejected": messages(0, 3)},
            (("hello<|im_end|>\n", BETWEEN, "bye<|im_end|>\n"), ("bye<|im_end|>\n",)),
        ),
    ],
)
def test_messages_are_written_by_the_template_whatever_holds_them(fields, answers):
    example, _ = read_example(fields, WRITTEN)
    assert (example.prompt, example.answers) == (PROMPT, answers)
    # The same examples are held out, however they are written.
    assert example.topic == read_example(fields)[0].topic == "hi"


def test_strings_are_as_they_stand():
    fields = {"prompt": "\n\nHuman: hi\n\nAssistant:", "completion": " hello"}
    assert read_example(fields, WRITTEN) == read_example(fields)


def test_what_a_template_cannot_write_is_a_bad_line():
    read = lambda source: read_example({"messages": messages(0, 1, 2, 3)}, Template(source, {}))
    with pytest.raises(DataError, match=r"the chat template cannot write it \(no such role\)"):
        read("{{ raise_exception('no such role') }}")
    for source in (
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ none + 1 }}",
    ):
        with pytest.raises(DataError, match="the chat template cannot write it"):
            read(source)
    # As templates do that leave out what was thought before.
    with pytest.raises(DataError, match="writes what was said before otherwise when the dialogue goes on"):
        read("{% for message in messages %}{{ message.content if loop.last else '' }}{% endfor %}")


def test_what_is_no_template_is_refused():
    with pytest.raises(ValueError, match="its chat template cannot be read"):
        Template("{% for %}", {})


def test_templates_have_what_those_of_transformers_have():
    source = (
        "{% for message in messages %}{% if loop.index > 1 %}{% break %}{% endif %}"
        "{% generation %}{{ {'a': message.content} | tojson }}{% endgeneration %}{% endfor %}"
        "{{ '?' if strftime_now is not defined and tools is none }}"
    )
    assert Template(source, {})([Message("user", "<é>"), Message("user", "b")], False) == '{"a": "<é>"}?'
