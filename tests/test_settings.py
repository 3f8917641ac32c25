"""Every setting that can be typed has a domain: values outside are refused in one line, values inside never crash."""

import dataclasses
import inspect
import json
import math
import random
from functools import cache
from types import NoneType
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import flax.linen as nn
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqrl_jax import cli, naming, parts
from seqrl_jax.agents.registry import AGENTS, agent_settings, make_agent
from seqrl_jax.lm.labels import Labeller
from seqrl_jax.lm.registry import METHODS, make_method, make_model, make_task_and_model, method_settings
from seqrl_jax.lm.reward_model import RewardModel
from seqrl_jax.lm.sft import Supervised
from seqrl_jax.naming import Fitted, SpecError
from seqrl_jax.networks import Window
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.rnn import RNN
from seqrl_jax.tasks import TASKS, PomdpFileError, TaskError, make, tables
from seqrl_jax.tasks.registry import COMMON_KEYS, task_settings

REFUSALS = (SpecError, TaskError, PomdpFileError)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where settings are typed: what comes before them, the domains of some keys, and what builds the whole."""

    prefix: str
    domains: dict
    build: object

    def spec(self, *parts):
        return self.prefix + ",".join(parts)


def places():
    for name, function in TASKS.items():
        yield Place(f"{name}:", {**COMMON_KEYS, **naming.settable(function)}, make)
    for name, entry in AGENTS.items():
        agent = entry.agent.learner
        yield Place(f"{name}:", dict(naming.settable(type(agent))), make_agent)
        for field, choice in parts.choices(type(agent)).items():
            yield Place(f"{name}:", dict(naming.settable(type(getattr(agent, field)))), make_agent)
            for part, kind in choice.kinds.items():
                yield Place(f"{name}:{field}={part},", dict(naming.settable(kind)), make_agent)
    for name, entry in METHODS.items():
        yield Place(f"{name}:", dict(naming.settable(type(entry.method))), make_method)
    yield Place("keyword:", dict(naming.settable(make_model)), make_task_and_model)


PLACES = [place for place in places() if place.domains]


@pytest.fixture(scope="module", autouse=True)
def hints_read_once():
    """What may stand in a field: thousands of agents are made here, each of which would read its type hints again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "choices", cache(parts.choices))
        yield


def inner(domain):
    """A domain without `| None`, and whether it had that."""
    if NoneType in get_args(domain):
        return next(part for part in get_args(domain) if part is not NoneType), True
    return domain, False


def ends(domain):
    """(kind, smallest value inside, largest value inside) of a number's domain."""
    kind, note = get_args(domain)
    one = (lambda x, up: x + up) if kind is int else (lambda x, up: math.nextafter(x, math.inf * up))
    low = note.ge if note.ge is not None else one(note.gt, 1)
    high = note.le if note.le is not None else one(note.lt, -1)
    return kind, kind(low), kind(high)


def outside(domain):
    """Texts that no domain of this kind allows."""
    domain, optional = inner(domain)
    always = ["x", " 1", "1 ", "٣", "1_0", "null", "0x1", "\x1b[2J", "1e", "--1", *([] if optional else ["none"])]
    if get_origin(domain) is Literal:
        # `none` may be one of the words.
        return [text for text in always if text not in get_args(domain)] + [get_args(domain)[0].upper()]
    if domain is bool:
        return [*always, "True", "yes", "1"]
    kind, low, high = ends(domain)
    below, above = (
        (low - 1, high + 1) if kind is int else (math.nextafter(low, -math.inf), math.nextafter(high, math.inf))
    )
    return [
        *always,
        f"{below!r}",
        f"{above!r}",
        "-1e30",
        "1e30",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "9" * 5000,
        "-" + "9" * 40,
    ]


def inside(domain):
    """A strategy of texts that the domain allows: its ends, and near its lower one."""
    domain, optional = inner(domain)
    if get_origin(domain) is Literal:
        texts = st.sampled_from(get_args(domain))
    elif domain is bool:
        texts = st.sampled_from(("true", "false"))
    else:
        kind, low, high = ends(domain)
        near = st.integers(low, min(high, low + 12)) if kind is int else st.floats(low, high)
        texts = (near | st.sampled_from((low, high))).map(repr)
    return texts | st.just("none") if optional else texts


@pytest.fixture(scope="module", autouse=True)
def small_tables():
    """Tasks with larger tables are refused, as those beyond memory are outside tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "MOST_ENTRIES", 2_000)
        yield


@pytest.fixture(scope="module")
def names():
    return [*TASKS, *AGENTS, *METHODS]


def refusal(build, spec):
    """What is said against it; empty if it is built."""
    try:
        build(spec)
    except REFUSALS as error:
        said = str(error)
        assert said and said.isprintable(), f"{spec!r}: {said!r} is not one line, or could steer a terminal"
        return said
    return ""


FLAX = ("parent", "name")


def undeclared(function):
    """Parameters that are numbers or words, but of no domain; flax's own fields of every module are no settings."""
    hints = get_type_hints(function, include_extras=True)
    of_flax = FLAX if isinstance(function, type) and issubclass(function, nn.Module) else ()
    for key in inspect.signature(function).parameters:
        bare, _ = inner(hints.get(key)) if key not in of_flax else (None, False)
        if bare in (int, float, str):
            yield key
        elif (
            get_origin(bare) is Annotated and get_args(bare)[0] in (int, float, str) and Fitted() not in get_args(bare)
        ):
            _, low, high = ends(bare)
            assert low < high and math.isfinite(low) and math.isfinite(high), f"{function}: {key} has an open end"


EVERY = [
    *TASKS.values(),
    *dict.fromkeys(type(entry.agent.learner) for entry in AGENTS.values()),
    *dict.fromkeys(
        part
        for entry in AGENTS.values()
        for choice in parts.choices(type(entry.agent.learner)).values()
        for part in choice.kinds.values()
    ),
    *dict.fromkeys(type(entry.method) for entry in METHODS.values()),
    *(GPT, RNN, Labeller, RewardModel, Supervised),
]


@pytest.mark.parametrize("function", EVERY, ids=lambda function: function.__name__)
def test_every_number_and_word_that_can_be_set_declares_its_domain(function):
    assert not list(undeclared(function))


def test_a_setting_without_a_domain_is_found():
    def careless(length: int, name: str, ready: bool, memory: Window) -> None: ...

    assert list(undeclared(careless)) == ["length", "name"]


def test_what_ships_lies_in_its_domain():
    for name in (*TASKS, *AGENTS, *METHODS):
        listed = {**dict.fromkeys(TASKS, task_settings), **dict.fromkeys(AGENTS, agent_settings)}.get(
            name, method_settings
        )
        build = make if name in TASKS else make_agent if name in AGENTS else make_method
        for setting in listed(name):
            if setting.default != "the task's own":
                assert not refusal(build, f"{name}:{setting.key}={setting.default}"), setting


def test_every_value_outside_a_domain_is_refused_with_its_key_and_the_domain_in_words():
    """All such values of every kind of setting, and one of them wherever else that setting can be typed."""
    rng, seen, tried = random.Random(0), set(), 0
    for place in PLACES:
        for key, domain in place.domains.items():
            kind = (place.build, key, repr(domain))
            texts = [rng.choice(outside(domain))] if kind in seen else outside(domain)
            seen.add(kind)
            for text in texts:
                said = refusal(place.build, place.spec(f"{key}={text}"))
                assert f"{key} is " in said and naming.in_words(domain) in said, (place.prefix, key, text, said)
                tried += 1
    assert tried > 5_000


@settings(max_examples=400)
@given(st.data())
def test_values_inside_their_domains_are_built_or_refused_in_one_line(data):
    place = data.draw(st.sampled_from(PLACES))
    keys = data.draw(st.lists(st.sampled_from(sorted(place.domains)), min_size=1, max_size=4, unique=True))
    values = [f"{key}={data.draw(inside(place.domains[key]))}" for key in keys]
    said = refusal(place.build, place.spec(*values))
    assert "expected" not in said, f"a value inside its domain was refused: {said}"


@settings(max_examples=400)
@given(st.data())
def test_any_text_as_a_name_or_a_value_is_answered_in_one_line(data):
    place = data.draw(st.sampled_from(PLACES))
    key = data.draw(st.sampled_from(sorted(place.domains)))
    text = data.draw(st.text(max_size=30))
    for spec in (text, f"{place.prefix}{text}", place.spec(f"{key}={text}"), place.spec(f"{text}=1")):
        refusal(place.build, spec)


SCRAPS = [
    *":,=.-+_ 0123456789e",
    "\x00",
    "\x1b[2J",
    "\n",
    "\r",
    "\u2028",
    "\ud800",
    "é",
    "٣",
    "∞",
    "nan",
    "1e999",
    "::",
    ",,",
    "memory=",
    ".POMDP",
    "😀",
]


def mangled(rng, spec):
    """The text with some of its characters gone, doubled, moved or replaced."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(spec))
        cut = rng.randint(0, 3)
        spec = spec[:at] + rng.choice([rng.choice(SCRAPS), "", spec[at : at + cut] * 2]) + spec[at + cut :]
    return spec


@pytest.mark.parametrize("seed", range(4))
def test_mangled_specs_are_built_or_refused_in_one_line(seed):
    rng = random.Random(seed)
    for _ in range(5000):
        place = rng.choice(PLACES)
        key, domain = rng.choice(sorted(place.domains.items()))
        spec = mangled(rng, place.spec(f"{key}={rng.choice(['1', '0.5', 'true', '3', *outside(domain)[-4:]])}"))
        refusal(place.build, spec)


def said_by_cli(capsys, *arguments):
    try:
        code = cli.main(list(arguments))
    except SystemExit as leaving:
        code = leaving.code
    out, err = capsys.readouterr()
    assert out == "" and code == 2, (arguments, code, out, err)
    assert err.endswith("\n") and err[:-1].isprintable(), (arguments, err)
    return err


def test_the_command_line_refuses_settings_with_exit_code_2_and_one_line(capsys):
    rng = random.Random(0)
    for place in rng.sample(PLACES, 25):
        key, domain = rng.choice(sorted(place.domains.items()))
        spec = place.spec(f"{key}={rng.choice(outside(domain))}")
        arguments = {
            make: ["solve", spec],
            make_agent: ["run", "--agents", spec],
            make_method: ["run", "lm", "--agents", spec],
            make_task_and_model: ["run", "lm", "--tasks", spec],
        }
        said = said_by_cli(capsys, *arguments[place.build])
        assert key in said and naming.in_words(domain) in said


NUMBERS = {
    "solve tmaze": ["--horizon", "--discount", "--episodes", "--memory-states"],
    "run": ["--seeds", "--steps"],
    "throughput": ["--batch", "--steps", "--repeats", "--width", "--layers", "--heads", "--context"],
    "align data.jsonl --out out": [
        *("--steps", "--batch", "--group", "--answer", "--learning-rate", "--beta", "--held-out", "--check-every"),
        *("--log-every", "--seed", "--width", "--layers", "--heads", "--context"),
    ],
}
BAD_NUMBERS = [
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "9" * 30,
    "9" * 5000,
    "",
    " ",
    "x",
    "٣",
    "1_0",
    "0x10",
    "\x1b[2J",
    "\ud800",
]


@pytest.mark.parametrize(
    ("command", "option"), [(command, option) for command, options in NUMBERS.items() for option in options]
)
def test_every_number_of_the_command_line_has_a_domain(capsys, command, option):
    for text in BAD_NUMBERS:
        said = said_by_cli(capsys, *command.split(), f"{option}={text}")
        assert option in said and "expected a" in said and "number" in said


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("tmaze:length=-1", "'tmaze:length=-1': length is -1, expected a whole number >= 1 and <= 1000"),
        ("tmaze:lenght=3", "'tmaze:lenght=3': unknown key 'lenght'; did you mean length?"),
        ("tmaze:", "'tmaze:': '' is not of the form key=value"),
        ("tmaze:length=3,,good=1", "'' is not of the form key=value"),
        ("tmaze:length=3,", "'' is not of the form key=value"),
        (":length=3", "a name is missing"),
        ("", "a name is missing"),
        ("tm\x1b[2Jaze", r"'tm\x1b[2Jaze'; did you mean tmaze?"),
        ("x" * 10_000, f"unknown task '{'x' * 80}...'"),
        ("ppo:num_envs=10", "num_envs is 10 and minibatches is 4: the environments do not divide into equal parts"),
        ("pqn:minibatches=3", "num_envs is 16 and minibatches is 3"),
        ("q_window:window=0", "window is 0, expected a whole number >= 1"),
        ("q_transformer:heads=3", "width is 32 and heads is 3: heads must divide width"),
        ("ppo:memory=linear_attention,heads=5", "width is 32 and heads is 5"),
        ("ppo:memory=lru,radius=.9,outer_radius=.5", "radius is 0.9 and outer_radius is 0.5"),
        ("ppo:memory=gruu", "'ppo:memory=gruu': unknown memory 'gruu'; did you mean gru"),
        ("r2d2:capacity=600", "burn_in is true and capacity is 600"),
        ("ppo:clip=-1", "clip is -1, expected a number >= 1e-08"),
        ("gae:lambda_=7", "lambda_ is 7, expected a number >= 0 and <= 1"),
        ("gae:lambda=0.5", "unknown key 'lambda'; did you mean lambda_"),
        ("drqn:start=half", "'drqn:start=half': unknown start 'half'; known: stored, whole, zero"),
        ("drqn:burn_in=true", "unknown key 'burn_in'"),
        ("soft_q:target=double,temperature=.1", "unknown key 'temperature'"),
        ("q_window:previous_action=true", "previous_action is true"),
        ("ppo:memory=none,previous_reward=true", "previous_reward is true"),
        ("latent_ppo:use=sample", "use is sample"),
        ("latent_plan:groups=2", "kind is categorical and groups is 2"),
        ("latent_plan:memory=gru", "unknown memory 'gru'; known: latent"),
        ("latent_plan:recurrent_prior=true", "recurrent_prior is true"),
        ("pg_state_baseline:bootstrap_truncated=true", "critic is state and bootstrap_truncated is true"),
        ("grpo:minibatches=7", "minibatches is 7: 128 completions do not divide into equal parts"),
        ("rloo:group=1", "group is 1 and advantage is leave_one_out"),
    ],
)
def test_a_refusal_names_the_spec_the_settings_and_what_was_expected(spec, said):
    name = naming.base(spec)
    build = make_agent if name in AGENTS else make_method if name in METHODS else make
    assert said in refusal(build, spec)


def test_list_shows_what_can_be_set(capsys):
    for name, said in (
        ("tmaze", "length a whole number >= 1 and <= 1000 (default: 5)"),
        ("r2d2", "start one of whole, zero, stored (default: stored)"),
        ("drqn", "previous_action true or false, or none (default: none)"),
        ("grpo", "clip a number >= 1e-08 and <= 1000000, or none (default: 0.2)"),
        ("keyword", "model one of gpt, rnn (default: gpt)"),
    ):
        assert cli.main(["list", name]) == 0 and said in " ".join(capsys.readouterr().out.split())
        assert cli.main(["list", name, "--json"]) == 0
        settings = json.loads(capsys.readouterr().out)["settings"]
        assert [setting["key"] for setting in settings] and {"key", "domain", "default"} == set(settings[0])


def test_a_whole_number_may_be_written_with_an_exponent_and_a_limit_may_be_none():
    assert make_agent("ppo:num_envs=1e2").num_envs == 100
    assert make_method("grpo:clip=none").clip is None and make_method("grpo:clip=.3").clip == 0.3
    assert make("tmaze:horizon=none").horizon == make("tmaze").horizon


@pytest.mark.parametrize("build", [make_agent, make_method])
def test_relations_hold_also_where_settings_are_given_in_python(build):
    shipped = AGENTS["ppo"].agent if build is make_agent else METHODS["grpo"].method
    with pytest.raises(SpecError, match="minibatches is 7"):
        dataclasses.replace(shipped, minibatches=7)
    with pytest.raises(SpecError, match="epochs is 0, expected a whole number >= 1"):
        dataclasses.replace(shipped, epochs=0)


def test_settings_are_listed_with_domain_and_default():
    listed = {setting.key: setting for setting in agent_settings("q_transformer")}
    assert listed["heads"] == naming.Setting("heads", "a whole number >= 1 and <= 1024", "4")
    assert listed["target"] == naming.Setting("target", "one of double, max, soft", "double")
    assert listed["memory"].default == "transformer" and "gru" in listed["memory"].domain
    listed = {setting.key: setting for setting in task_settings("tmaze")}
    assert listed["horizon"] == naming.Setting("horizon", "a whole number >= 1 and <= 100000, or none", "none")
    assert listed["time"].default == "false" and listed["discount"].default == "the task's own"
    assert set(listed) == {*inspect.signature(TASKS["tmaze"]).parameters, *COMMON_KEYS}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("tmaze", "tmaze:horizon=5"),
        ("tmaze:length=3", "tmaze:length=3,horizon=5"),
        ("tmaze:horizon=9,length=3", "tmaze:length=3,horizon=5"),
        ("tmaze:horizon=9", "tmaze:horizon=5"),
        ("gymnax:CartPole-v1", "gymnax:CartPole-v1:horizon=5"),
        ("maps:2/model.POMDP", "maps:2/model.POMDP:horizon=5"),
        ("maps:2/model.POMDP:delay=1", "maps:2/model.POMDP:delay=1,horizon=5"),
    ],
)
def test_a_setting_is_set_whatever_colons_a_name_holds(spec, expected):
    assert naming.with_setting(spec, "horizon", 5) == expected
