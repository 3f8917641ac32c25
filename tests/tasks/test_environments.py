"""What every environment of the suite that is no table promises, whatever its rules."""

import inspect
import sys

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax import naming
from seqrl_jax.descriptions import described
from seqrl_jax.naming import SpecError
from seqrl_jax.tasks.environment import Box, auto_reset
from seqrl_jax.tasks.environments import ENVIRONMENTS, environment, modules_of, settings_of, table

SMALL = {
    "memory_chain": "memory_chain:length=5,bits=2",
    "long_tmaze": "long_tmaze:length=4,active=true",
    "multi_armed_bandit": "multi_armed_bandit:arms=3,horizon=5",
    "memory_demand": "memory_demand:answers=4",
    "key_to_door": "key_to_door:delay=5",
    "concentration": "concentration:pairs=3,flips=8",
}
"""The others are small as they are."""
EPISODES = 256


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def played(request):
    """The environment, and two episodes' worth of steps of many copies that reset themselves, under random actions."""
    ready = environment(SMALL.get(request.param, request.param))
    env = auto_reset(ready.env)

    def one(key):
        begin, go = jax.random.split(key)
        obs, state = env.reset(begin, ready.params)

        def step(carry, key):
            obs, state = carry
            act, move = jax.random.split(key)
            action = jax.random.randint(act, (), 0, env.action_space.size)
            after = env.step(move, state, action, ready.params)
            return (after.obs, after.state), (obs, after._replace(state=None))

        return jax.lax.scan(step, (obs, state), jax.random.split(go, 2 * env.longest))[1]

    keys = jax.random.split(jax.random.key(3000), EPISODES)
    before, after = jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(keys))
    return request.param, ready, before, after


def test_a_function_says_what_it_makes_and_every_number_of_it_has_a_domain(played):
    name = played[0]
    build, about = ENVIRONMENTS[name], described(ENVIRONMENTS[name])
    assert len(about.paragraph) > 60 and about.picture.strip() and len(about.idea) > 20
    assert set(naming.settable(build)) == set(inspect.signature(build).parameters)
    for key in naming.settable(build):
        with pytest.raises(SpecError, match=f"{key} is 'nonsense', expected") as refused:
            environment(f"{name}:{key}=nonsense")
        assert "\n" not in str(refused.value)


def test_shapes_and_types_never_change(played):
    """What scans and vmaps need; a hashable environment is one compiled program."""
    name, ready, *_ = played
    env, key = ready.env, jax.random.key(0)
    typed = lambda tree: [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]
    begun = jax.eval_shape(lambda: env.reset(key, ready.params))
    after = jax.eval_shape(
        lambda: env.step(key, env.reset(key, ready.params)[1], jnp.int32(0), ready.params),
    )
    assert typed((after.obs, after.state)) == typed(begun)
    assert typed(after.reward) == [((), jnp.float32)]
    assert typed((after.terminated, after.truncated)) == [((), bool)] * 2
    assert env == environment(SMALL.get(name, name)).env and hash(env) == hash(environment(SMALL.get(name, name)).env)


def test_what_is_seen_lies_in_the_space(played):
    _, ready, before, after = played
    space = ready.env.observation_space
    for obs in (before, after.obs, after.info["last_obs"]):
        if isinstance(space, Box):
            assert obs.shape[2:] == space.shape and np.isfinite(obs).all()
            assert space.active is None or (obs != 0).reshape(*obs.shape[:2], -1).sum(-1).max() <= space.active
        else:
            assert obs.min() >= 0 and obs.max() < space.size


def test_episodes_end_by_their_longest_and_for_one_reason(played):
    _, ready, _, after = played
    ended = after.terminated | after.truncated
    assert not (after.terminated & after.truncated).any()
    for row in ended:
        stops = np.flatnonzero(row)
        assert np.diff([-1, *stops]).max() <= ready.env.longest
    assert ended[:, : ready.env.longest].any(1).all()


def test_the_first_observation_of_every_episode_is_that_of_a_reset(played):
    """It reaches the agent in the step that ends the episode before; the last one stands beside it."""
    _, ready, before, after = played
    ended = after.terminated | after.truncated
    np.testing.assert_array_equal(after.obs[:, :-1], before[:, 1:])
    np.testing.assert_array_equal(after.obs[~ended], after.info["last_obs"][~ended])
    keys = jax.random.split(jax.random.key(3001), 2000)
    first = np.asarray(jax.vmap(lambda key: ready.env.reset(key, ready.params)[0])(keys))
    known = {row.tobytes() for row in first} | {row.tobytes() for row in before[:, 0]}
    if len(known) < 100:
        assert {row.tobytes() for row in after.obs[ended]} <= known


def test_no_mean_of_random_play_exceeds_what_is_certified(played):
    """The mean return of first episodes, within 5 standard errors of the least upper end."""
    _, ready, _, after = played
    ended = after.terminated | after.truncated
    running = np.cumsum(ended, 1) - ended == 0
    returns = (after.reward * running).sum(1)
    for proved in ready.certified.values():
        assert proved.lower <= proved.upper
        assert returns.mean() <= proved.upper + 5 * returns.std() / EPISODES**0.5 + 1e-6
    assert ready.certified["memoryless_stochastic"].lower <= ready.certified["history"].upper


FORGOT = """
import gymnax
import jax.numpy as jnp
from dataclasses import dataclass
from seqrl_jax.tasks.environment import Box, Discrete, Transition, Whole
from seqrl_jax.tasks.ready import Certificate, Ready
from seqrl_jax.tasks.registry import make

@dataclass(frozen=True)
class Sound(Whole):
    longest: int = 3
    action_space = Discrete(2)
    observation_space = Discrete(3)

    def reset(self, key, params):
        return jnp.int32(0), jnp.int32(0)

    def step(self, key, state, action, params):
        return Transition(jnp.int32(0), state + 1, jnp.float32(0), state > 1, jnp.bool_(False), {})

class Unlike(Sound):
    def step(self, key, state, action, params):
        return self.changed(super().step(key, state, action, params))

class Bare:
    longest, action_space, observation_space = 3, Discrete(2), Discrete(3)
    reset, step = Sound.reset, Sound.step

def of(name, change):
    return lambda: (type(name, (Unlike,), {"changed": lambda self, after: change(after)})(), None)

def sound(): return Sound(), None
def pair(): return 1, 2
def bare(): return Bare(), None
def ready(): return Ready(Bare(), None)
def kind(): return Sound, None
def shape(): return type("S", (Sound,), {"observation_space": Box((4,))})(), None
def name(): return Ready(Sound(), None, {"best": Certificate(0, 1, "")})
def ends(): return Ready(Sound(), None, {"history": Certificate(1, 0, "")})
def raises(): return type("S", (Sound,), {"reset": lambda self, key, params: params["x"]})(), None
reward = of("Reward", lambda after: after._replace(reward=jnp.int32(1)))
five = of("Five", tuple)
state = of("State", lambda after: after._replace(state=jnp.float32(1)))
changed = lambda **fields: lambda: (type("S", (Sound,), fields)(), None)
actions = changed(action_space=Discrete(0))
text = changed(observation_space="four numbers")
worth = changed(discount=lambda self, params: "much")

discounted = changed(discount=lambda self, params: 3.0)
late = changed(horizon=lambda self, params: jnp.int32(4))
empty = changed(observation_space=Box((0,)))
half = of("Half", lambda after: after._replace(obs=after.obs.astype(jnp.int8)))

def long(): return Sound(2.5), None
def tabled(): return Ready(Sound(), None, table=lambda: make("tmaze:discount=1,length=2"))
def own_table(): return Ready(Turning(), None, table=lambda: make("tmaze:discount=1,length=2"))
def no_table(): return Ready(Sound(), None, table=lambda: 3)
def worse_table(): return Ready(Sound(), None, table=lambda: 1 / 0)
def other_table(): return Ready(Sound(), None, table=lambda: make("tiger"))

class Turning(Sound):
    action_space = Discrete(4)
def never(): return Sound(0), None
def classic(): return type(gymnax.make("CartPole-v1")[0]), gymnax.make("CartPole-v1")[1]
def nothing(): return gymnax.make("CartPole-v1")[0], None
"""


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("pair", "int has no action_space"),
        ("bare", "Bare has no expensive_reset, action_mask, observation_mask, discount, horizon"),
        ("ready", "Bare has no expensive_reset, action_mask"),
        ("kind", "Sound is a class"),
        ("shape", r"reset's observation is int32\[\], expected float32\[4\]"),
        ("name", "'best' is certified, expected memoryless_stochastic or history"),
        ("ends", "history is certified to lie between 1 and 0"),
        ("raises", "reset fails: TypeError"),
        ("reward", r"step's reward is int32\[\], expected float32\[\]"),
        ("five", "step returns tuple, expected a Transition"),
        ("actions", "the action space is Discrete"),
        ("text", "the observation space is 'four numbers'"),
        ("long", "longest is 2.5"),
        ("never", "longest is 0"),
        ("worth", "discount fails"),
        ("discounted", "the discount is 3, expected one from 0 to 1"),
        ("late", "the horizon is 4, expected one from 1 to longest, 3"),
        ("empty", r"the observation space is Box.* has no numbers"),
        ("half", r"reset's observation is int32\[\], step's is int8\[\]"),
        ("classic", "CartPole is a class"),
        ("nothing", "gymnax's environment fails: AttributeError: 'NoneType' object has no attribute"),
        ("state", r"reset's state is \(int32\[\]\), step's is \(float32\[\]\)"),
    ],
)
def test_what_breaks_the_contract_is_said_in_one_line(tmp_path, monkeypatch, function, why):
    (tmp_path / "forgot.py").write_text(FORGOT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "forgot", raising=False)
    assert environment("forgot:sound").env.longest == 3
    with pytest.raises(SpecError, match=f"'forgot:{function}': {why}") as refused:
        environment(f"forgot:{function}")
    assert "\n" not in str(refused.value)


def test_the_table_that_an_environment_brings_is_its_own(tmp_path, monkeypatch):
    """It is solved under the environment's name, and refused in one line where it is another's."""
    (tmp_path / "forgot.py").write_text(FORGOT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "forgot", raising=False)
    assert table("forgot:own_table").name == "forgot:own_table" and table("forgot:own_table").num_actions == 4
    for function, why in (
        ("tabled", r"its table has 4 actions, and its action space is Discrete\(size=2\)"),
        ("no_table", "its table is int, expected a TabularPOMDP"),
        ("worse_table", "its table fails: ZeroDivisionError"),
        ("other_table", "its table has a discount of 0.95"),
        ("sound", "is an environment, and no table that could be solved"),
    ):
        with pytest.raises(SpecError, match=f"^'forgot:{function}'.*{why}") as refused:
            table(f"forgot:{function}")
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("code", "path", "why"),
    [
        ("1 / 0", "theirs:f", r"importing theirs fails: ZeroDivisionError: division by zero \(theirs.py, line 1\)"),
        ("def f(:", "theirs:f", r"importing theirs fails: SyntaxError: invalid syntax \(theirs.py, line 1\)"),
        ("import not_there", "theirs:f", r"importing theirs fails: ModuleNotFoundError: No module named 'not_there'"),
        ("raise SystemExit(3)", "theirs:f", "importing theirs fails: SystemExit: 3"),
        ("", "not_there:f", "there is no module not_there"),
        ("", "theirs.part:f", "there is no module theirs.part"),
        ("g = len", "theirs:f", "unknown function of theirs 'f'; known: g"),
        ("f = 3", "theirs:f", "f of theirs is int, expected a function"),
        ("def f(x: 'Nobody' = 1): pass", "theirs:f", "reading the parameters of f fails: NameError: name 'Nobody'"),
        ("f = dict", "theirs:f", "reading the parameters of f fails: ValueError"),
        ("def f():\n return {}[1]", "theirs:f", r"f fails: KeyError: 1 \(theirs.py, line 2\)"),
        ("def f(x): pass", "theirs:f", "f needs 'x', of which nothing is said"),
        (
            "class E:\n longest = property(lambda self: 1 / 0)\ndef f(): return E(), 0",
            "theirs:f",
            "the environment fails",
        ),
    ],
)
def test_what_the_code_of_others_raises_is_said_in_one_line_with_its_place(tmp_path, monkeypatch, code, path, why):
    (tmp_path / "theirs.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    with pytest.raises(SpecError, match=f"^'{path}': {why}") as refused:
        environment(path)
    assert "\n" not in str(refused.value)
    if "Error:" in why:
        assert refused.value.__cause__ is not None


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("CartPole-v1:max_steps_in_episode=0", "expected a whole number >= 1"),
        ("CartPole-v1:max_steps_in_episode=-5", "expected a whole number >= 1"),
        ("MemoryChain-bsuite:memory_length=-1", "expected a whole number >= 1"),
        ("MemoryChain-bsuite:num_bits=0", "num_bits is 0"),
        ("Pendulum-v1:dt=nan", "expected a number"),
        ("Pendulum-v1:max_torque=-2", "expected a number >= 1e-08"),
        ("CartPole-v1:length=0", "expected a number >= 1e-08"),
        ("CartPole-v1:total_mass=2", r"total_mass is 2.0: it follows, masscart \+ masspole"),
        ("CartPole-v1:masspole=1,polemass_length=2", r"polemass_length is 2.0: it follows, masspole \* length"),
        ("MemoryChain-bsuite:memory_length=1000", "memory_length is 1000 and max_steps_in_episode is 1000: an episode"),
        ("MemoryChain-bsuite:max_steps_in_episode=5", "an episode ends before anything is paid"),
        ("UmbrellaChain-bsuite:chain_length=101", "an episode ends before anything is paid"),
    ],
)
def test_settings_of_gymnax_have_domains(setting, why):
    with pytest.raises(SpecError, match=why):
        environment(f"gymnax:{setting}")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("minari:foo/bar-v0", " names no task: a task is NAME:key=value,... or a .POMDP file, other environments are"),
        ("gym:CartPole-v1", " names no task: a task is NAME"),
        ("http://x.y/z", " names no task: a task is NAME"),
        ("brax_of_others:ant", ": there is no module brax_of_others: a task is NAME"),
        ("gymnax:CartPole-v1:", ": '' is not of the form key=value"),
        ("tiger:", ": '' is not of the form key=value"),
    ],
)
def test_a_name_of_no_known_form_is_refused_with_the_forms_there_are(spec, why):
    with pytest.raises(SpecError, match=f"^{spec!r}{why}"):
        environment(spec)


@pytest.fixture
def standard_promotion():
    """gymnax's own environments mix dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.usefixtures("standard_promotion")
def test_what_follows_from_params_of_gymnax_follows_from_what_is_set():
    """The mass of cart and pole together, and that of the pole times its half length; unset they are gymnax's own."""
    params = environment("gymnax:CartPole-v1:masspole=0.5,masscart=2,length=3").params.inner
    assert (params.total_mass, params.polemass_length) == (2.5, 1.5)
    assert environment("gymnax:CartPole-v1").params.inner == gymnax.make("CartPole-v1")[1]
    listed = {setting.key for setting in settings_of("gymnax:CartPole-v1")}
    assert "masspole" in listed and not listed & {"total_mass", "polemass_length"}


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize(
    ("settings", "steps"), [("MemoryChain-bsuite:memory_length=4", 5), ("UmbrellaChain-bsuite:chain_length=4", 4)]
)
def test_the_last_step_of_the_shortest_episode_pays(settings, steps):
    ready = environment(f"gymnax:{settings},max_steps_in_episode={steps}")
    _, state = ready.env.reset(jax.random.key(0), ready.params)
    for step in range(steps):
        after = ready.env.step(jax.random.key(step), state, jnp.int32(0), ready.params)
        state = after.state
    assert after.terminated and abs(after.reward) == 1
    with pytest.raises(SpecError, match="ends before anything is paid"):
        environment(f"gymnax:{settings},max_steps_in_episode={steps - 1}")


def test_what_is_no_table_is_not_solved_and_says_so():
    for spec in ("memory_chain:length=5", "gymnax:CartPole-v1", "forgot:sound"):
        with pytest.raises(SpecError, match="is an environment, and no table that could be solved"):
            table(spec)
    with pytest.raises(SpecError, match="did you mean tiger"):
        table("tigre")
    assert table("tiger").name == "tiger"


def test_what_can_be_set_of_others_is_listed():
    found = {setting.key: setting for setting in settings_of("gymnax:CartPole-v1")}
    assert found["max_steps_in_episode"].default == "500" and "gravity" in found and "flicker" in found
    with pytest.raises(SpecError, match="unknown environment of gymnax 'Nonsense-v7'"):
        settings_of("gymnax:Nonsense-v7")


def test_the_code_of_an_environment_is_part_of_what_it_is():
    assert modules_of("tiger:flicker=0.5") == [] and modules_of("forgot:sound") == ["forgot"]
    assert modules_of("memory_chain:length=5") == ["seqrl_jax.tasks.chain"]
    both = modules_of("gymnax:CartPole-v1:flicker=0.5")
    of_gymnax = ["seqrl_jax.tasks.gymnax_adapter", "seqrl_jax.tasks.gymnax_params"]
    assert both == [*of_gymnax, "seqrl_jax.tasks.wrappers.registry"]


def test_a_gymnax_of_before_its_version_1_is_refused_in_one_line(monkeypatch):
    monkeypatch.delattr(gymnax.environments.environment.Environment, "is_truncated")
    with pytest.raises(
        SpecError, match=r"'gymnax:CartPole-v1': .* expected an environment of gymnax 1\.0 or later"
    ) as refused:
        environment("gymnax:CartPole-v1")
    assert "\n" not in str(refused.value)
