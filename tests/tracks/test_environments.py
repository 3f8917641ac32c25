"""Environments by name in tables: gymnax's, one's own, and how they are judged."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from seqrl_jax.agents import make_agent
from seqrl_jax.cli import main
from seqrl_jax.naming import SpecError
from seqrl_jax.tasks.environment import Discrete, Transition, Undiscounted, everything_in
from seqrl_jax.tasks.environments import environment, known
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tracks.base import Budget, plain_loop
from seqrl_jax.tracks.environments import ANY, EnvironmentProblem
from seqrl_jax.tracks.training import alone, train_row

PAGE = (Path(__file__).parents[2] / "docs" / "add_an_environment.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Steps:
    """Three steps that pay 1 each, whatever is done, discounted by a half."""

    longest: int = 3
    expensive_reset: bool = False
    action_space = Discrete(2)
    observation_space = Discrete(2)

    def reset(self, key, params):
        return jnp.int32(0), jnp.int32(0)

    def step(self, key, state, action, params):
        ended = state + 1 == self.longest
        return Transition(jnp.int32(0), state + 1, params, jnp.bool_(False), ended, {})

    def action_mask(self, params):
        return everything_in(self.action_space)

    def observation_mask(self, params):
        return everything_in(self.observation_space)

    def discount(self, params):
        return jnp.float32(0.5)

    def horizon(self, params):
        return jnp.int32(self.longest)


def test_an_episode_that_does_not_end_is_no_return():
    class Endless(Steps):
        def step(self, key, state, action, params):
            return super().step(key, state, action, params)._replace(truncated=jnp.bool_(False))

    row = train_row(make_agent("ppo:width=8"), alone(Endless(), jnp.float32(1.0)), Budget(500, 1, (0,)))
    assert row.scores == [[None]] and len(row.failures) == 1


@pytest.mark.parametrize("agent", ["reinforce", "ppo:width=8"])
def test_returns_are_what_is_paid_and_agents_learn_with_the_discount(agent):
    """Also of an agent whose policy is a table: there is no table of the task by which it could be valued."""
    env, pays = Steps(), jnp.float32(1.0)
    row = train_row(make_agent(agent), alone(env, pays), Budget(500, 1, (0, 1)))
    assert row.scores == [[3.0, 3.0]] and row.episodes is not None
    assert float(Undiscounted(env).discount(pays)) == 1.0
    assert float(env.discount(pays)) == 0.5


def test_the_page_adds_an_environment_and_agents_that_remember_solve_it(tmp_path, monkeypatch, capsys):
    module, command = re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "signals.py").write_text(module, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    words = command.split()[1:]
    words[words.index("--seeds") + 1] = "2"
    words[words.index("--steps") + 1] = "40000"
    assert main([*words, "--out", str(tmp_path / "run"), "--json"]) == 0
    rows = {row["agent"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["history"]["score"]["mean"] == 1.0
    assert all(rows[agent]["memory"]["mean"] > 0.8 for agent in ("ppo", "pqn"))


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("gymnax:CartPole", "did you mean CartPole-v1"),
        ("gymnax:CartPole-v1:poles=2", "unknown key 'poles'"),
        ("nowhere:make", "there is no module nowhere"),
        ("math:squareroot", "unknown function of math"),
        ("math:sqrt", "needs 'x'"),
        ("platform:node", "expected an environment and its params"),
        ("platform:node:depth=2", "unknown key 'depth'"),
        ("tmaz:length=3", "did you mean tmaze"),
    ],
)
def test_a_name_that_is_none_is_refused_in_one_line(spec, why):
    with pytest.raises(SpecError, match=re.escape(why)) as refused:
        environment(spec)
    assert "\n" not in str(refused.value)


@pytest.fixture
def mixing():
    """gymnax's own environments mix dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.usefixtures("mixing")
def test_an_agent_that_cannot_live_there_says_so_before_anything_is_computed():
    with pytest.raises(SpecError, match="'drqn' cannot run on 'gymnax:Pendulum-v1': actions are arrays"):
        ANY.check(["gymnax:CartPole-v1", "gymnax:Pendulum-v1"], ["ppo", "drqn"])
    with pytest.raises(SpecError, match=r"'belief_q' cannot run on .*: the exact belief needs a tabular task"):
        ANY.check(["gymnax:CartPole-v1"], ["belief_q"])
    with pytest.raises(SpecError, match="'drqn' cannot run on 'long_tmaze:length=1000000': rollout_length is 1048576"):
        ANY.check(["long_tmaze:length=1000000"], ["drqn"])


@pytest.mark.usefixtures("mixing")
def test_numbers_of_gymnax_are_settings_and_make_another_problem():
    ready = environment("gymnax:MemoryChain-bsuite:memory_length=7,max_steps_in_episode=16,num_bits=2,discount=1")
    assert ready.env.longest == 16 and float(ready.env.discount(ready.params)) == 1.0
    obs, _ = ready.env.reset(jax.random.key(0), ready.params)
    assert obs.shape == (4,)
    problems = [
        EnvironmentProblem(spec, environment(spec))
        for spec in ("gymnax:CartPole-v1", "gymnax:CartPole-v1:gravity=9.0", "gymnax:CartPole-v1:discount=0.9")
    ]
    assert len({problem.fingerprint for problem in problems}) == 3
    assert (
        problems[0].fingerprint
        == EnvironmentProblem("gymnax:CartPole-v1", environment("gymnax:CartPole-v1")).fingerprint
    )


def test_names_find_their_track():
    assert all(known(spec) for spec in ("tiger", "a/b.POMDP", "gymnax:X", "my.envs:make", "my_envs:make:size=3"))
    assert not any(known(spec) for spec in ("nothing", "keyword:length=3"))
    assert ANY.notes([]) == []


def test_tabular_tasks_stand_there_too():
    tiger = environment("tiger:horizon=4")
    assert isinstance(tiger, Ready) and tiger.env.longest == 4
    outcome = ANY.row("reinforce", [EnvironmentProblem("tiger:horizon=4", tiger)], Budget(400, 1, (0,)), plain_loop)[0]
    assert outcome.bounded_by == [] and outcome.metrics["return"][0] is not None
