"""A trained agent as an object, for loops outside of JAX: fit, predict, save, load.

    fitted = fit("ppo", "tmaze:length=10", steps=200_000)
    state = fitted.begin()
    action, state = fitted.predict(obs, state)

What an agent remembers, its own last action included, is in the state, which goes from step to step as an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Literal, NamedTuple, ParamSpec, Self, TypeVar

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from jax import Array

from seqrl_jax.agents.base import Agent, Policy, train
from seqrl_jax.agents.registry import make_agent
from seqrl_jax.checkpoint import load_tree, read_metadata, save_tree
from seqrl_jax.keys import key_of
from seqrl_jax.networks.experience import StepInput
from seqrl_jax.settings import Steps, is_count
from seqrl_jax.tasks.environment import Discrete, zeros_in
from seqrl_jax.tasks.environments import GYMNAX, environment, named_by_origin
from seqrl_jax.tasks.ready import Ready

KIND = "fitted agent"
Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


def in_single_precision(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """The function as agents are computed, whatever precision the program around it has set."""

    @wraps(function)
    def single(*arguments: Arguments.args, **settings: Arguments.kwargs) -> Returned:
        with jax.enable_x64(False):
            return function(*arguments, **settings)

    return single


class _About(msgspec.Struct, forbid_unknown_fields=True):
    """What stands beside the arrays of a file."""

    kind: Literal["fitted agent"]
    agent: str
    environment: str
    steps: Steps


class Remembered(NamedTuple):
    """What stands between two steps of B episodes, [B, ...] each: carry, action (the last one), key, and whether they
    have yet to begin."""

    carry: Any
    action: Array
    key: Array
    begins: Array


@dataclass(frozen=True, eq=False)
class Fitted:
    """An agent that was trained in an environment. agent, environment: their names. steps: of training. state: what was
    learned."""

    agent: str
    environment: str
    steps: int
    state: Any

    def __reduce__(self) -> tuple[Any, ...]:
        # Without what is computed from these: compiled functions cannot be copied.
        return type(self), (self.agent, self.environment, self.steps, self.state)

    @cached_property
    def _ready(self) -> Ready:
        return environment(self.environment)

    @cached_property
    def _agent(self) -> Agent:
        return make_agent(self.agent).for_run(self._ready.env.longest, self.steps)

    @cached_property
    def policy(self) -> Policy:
        """How it acts in its environment."""
        return self._agent.policy(self._ready.env, self._ready.params, self.state)

    @in_single_precision
    def begin(self, batch: int = 1, seed: int = 0) -> Remembered:
        """Before the first observation of so many episodes. seed: of what a stochastic policy draws.

        Raises: ValueError for fewer than one, and a seed that is none.
        """
        if not is_count(batch):
            raise ValueError(f"{batch!r} episodes, expected a whole number of 1 or more")
        carry = self.policy.initial_carry()
        return Remembered(
            carry=jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (batch, *jnp.shape(leaf))), carry),
            action=zeros_in(self._ready.env.action_space, batch),
            key=jax.random.split(key_of(seed), batch),
            begins=jnp.ones(batch, bool),
        )

    @in_single_precision
    def predict(
        self, obs: Any, state: Remembered, first: Any = None, reward: Any = 0.0
    ) -> tuple[np.ndarray, Remembered]:
        """Actions for observations [B, ...], and what is remembered then.

        Args: first: [B] bool, where an episode begins whatever is remembered, beside those where nothing has been seen.
            reward: [B], what the last actions were paid, for agents that read it.
        Raises: ValueError for observations of another shape or outside of their space, and for numbers that are none.
        """
        if not isinstance(state, Remembered):
            raise ValueError(f"state is {type(state).__name__}, expected what `begin` or `predict` returned")
        batch = len(state.key)
        if np.shape(first) not in ((), (batch,)):
            raise ValueError(f"first of shape {np.shape(first)}, expected ({batch},)")
        if np.shape(reward) not in ((), (batch,)):
            raise ValueError(f"rewards of shape {np.shape(reward)}, expected ({batch},)")
        begins = state.begins if first is None else state.begins | jnp.asarray(first, bool)
        paid = jnp.broadcast_to(_floats("rewards", reward), (batch,))
        return self._act(self._seen(obs, batch), state, begins, paid)

    def _seen(self, obs: Any, batch: int) -> Array:
        """Observations of this space, [batch, ...]. Raises: ValueError for any others."""
        space = self._ready.env.observation_space
        expected = (batch,) if isinstance(space, Discrete) else (batch, *space.shape)
        if isinstance(space, Discrete):
            number = np.asarray(obs)
            if number.dtype.kind not in "iu" or not ((number >= 0) & (number < space.size)).all():
                raise ValueError(f"observations are whole numbers from 0 to {space.size - 1}, not {number.tolist()}")
            seen = jnp.asarray(number, jnp.int32)
        else:
            seen = _floats("observations", obs)
        if seen.shape != expected:
            raise ValueError(f"observations of shape {seen.shape}, expected {expected}")
        return seen

    @cached_property
    def _act(self) -> Any:
        def one(obs: Array, state: Remembered, first: Array, reward: Array) -> tuple[Array, Remembered]:
            key, following = jax.random.split(state.key)
            fresh = self.policy.initial_carry()
            own = fresh, zeros_in(self._ready.env.action_space)
            if _shapes((state.carry, state.action)) != _shapes(own):
                raise ValueError(f"state is of another agent than {self.agent} in {self.environment}")
            carry = jax.tree.map(lambda new, old: jnp.where(first, new, old), fresh, state.carry)
            carry, action = self.policy.act(key, carry, StepInput(obs, first, state.action, reward))
            return action, Remembered(carry, action, following, jnp.bool_(False))

        def act(*arguments: Any) -> tuple[np.ndarray, Remembered]:
            action, state = stepped(*arguments)
            return np.asarray(action), state

        stepped = jax.jit(jax.vmap(one))
        return act

    def save(self, path: Path | str) -> None:
        """Write everything to a `.safetensors` file, what is no array as JSON beside the arrays."""
        about = {"kind": KIND, "agent": self.agent, "environment": self.environment, "steps": self.steps}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_tree(Path(path), self.state, about)

    @classmethod
    @in_single_precision
    def load(cls, path: Path | str, imports: bool = False) -> Self:
        """What `save` wrote. imports: whether the file may name an environment `MODULE:FUNCTION`, whose code then runs.

        Raises: ValueError for another file, and where names mean other shapes now.
        """
        try:
            about = msgspec.convert(read_metadata(Path(path)), _About, strict=True)
        except msgspec.ValidationError as error:
            raise ValueError(f"{path}: no {KIND} ({error})") from error
        if named_by_origin(about.environment) and not about.environment.startswith(f"{GYMNAX}:") and not imports:
            raise ValueError(f"{path}: its environment is code of {about.environment}, which imports=True would run")
        empty = cls(about.agent, about.environment, about.steps, None)
        try:
            env, params = empty._ready.env, empty._ready.params
            like = jax.jit(lambda key: empty._agent.init(key, env, params))(key_of(0))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        state = load_tree(Path(path), like)
        numbers = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        if not all(np.isfinite(leaf).all() for leaf in numbers):
            raise ValueError(f"{path}: holds numbers that are not finite")
        return replace(empty, state=state)


@in_single_precision
def fit(agent: str, environment: str, steps: int, seed: int = 0) -> Fitted:
    """Train an agent, both by their names (see `seqrl list`), in one compiled run.

    Raises: SpecError for names that are none, ValueError for an agent that cannot learn there, and for no steps.
    """
    if not is_count(steps):
        raise ValueError(f"steps is {steps!r}, expected a whole number of 1 or more")
    untrained = Fitted(agent, environment, int(steps), None)
    env, params = untrained._ready.env, untrained._ready.params
    state, _ = jax.jit(lambda key: train(untrained._agent, env, params, key, untrained.steps))(key_of(seed))
    return replace(untrained, state=state)


def _shapes(tree: Any) -> Any:
    """Comparable: the structure of a tree, and the shapes of its leaves."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [jnp.shape(leaf) for leaf in leaves]


def _floats(what: str, numbers: Any) -> Array:
    """Numbers of any type as single precision. Raises: ValueError for what is none there."""
    try:
        with np.errstate(over="ignore"):
            found = np.asarray(numbers, np.float32)
    except TypeError as error:
        raise ValueError(f"{what} are no numbers ({error})") from None
    if not np.isfinite(found).all():
        raise ValueError(f"{what} hold a number that is not finite")
    return jnp.asarray(found)
