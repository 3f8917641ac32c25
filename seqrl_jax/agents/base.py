"""What an agent is: hyperparameters and three pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, Self

import jax
from jax import Array

from seqrl_jax.networks.experience import StepInput
from seqrl_jax.tasks.environment import Environment


class Policy(NamedTuple):
    """How a trained agent acts in one environment, and what it expects of that.

    initial_carry: () -> carry, at the start of an episode. act: (key, carry, inputs) -> (carry, action); inputs is what
    any agent may be given, of which each reads what its class says. value: of the same, what it expects to earn from
    this action on, a scalar in units of return; None of an agent that has no such value.
    """

    initial_carry: Callable[[], Any]
    act: Callable[[Array, Any, StepInput], tuple[Any, Array]]
    value: Callable[[Array, Any, StepInput], Array] | None = None


class Reads(NamedTuple):
    """What the action of a step is a function of, beside o_t.

    observations: how many in all, o_t included; None: all of the episode so far. actions, rewards: whether the agent's
    own, and what they earned, stand beside them. belief: whether the exact one stands in their place. time: whether the
    step's number is known.
    """

    observations: int | None = 1
    actions: bool = False
    rewards: bool = False
    belief: bool = False
    time: bool = False

    def __str__(self) -> str:
        if self.belief:
            what = "the exact belief"
        elif self.observations is None:
            what = f"o_0, {'a_0, ' * self.actions}{'r_0, ' * self.rewards}o_1, ... o_t"
        else:
            what = "o_t" if self.observations == 1 else f"the last {self.observations} observations"
        return f"{what} and the time" if self.time else what


class Agent(Protocol):
    """A dataclass of `hyperparameters`: floats are traced, all else is static.

    `init` and `update` are pure, so that a run is `scan(update)` and many runs are its `vmap` over keys, task params
    and hyperparameters. `update` collects `steps_per_update` environment steps and learns from them; its metrics are
    reduced over those steps.
    """

    @property
    def steps_per_update(self) -> int: ...

    @property
    def learner(self) -> Agent:
        """The part whose settings a name can set: the agent itself, or the one that it lends its eyes to."""
        return self

    def with_learner(self, learner: Agent) -> Agent:
        """The agent with another such part."""
        return learner

    def refuses(self, env: Environment) -> str | None:
        """Why the agent cannot live in environments of these shapes; None where it can."""
        return None

    def for_run(self, horizon: int, steps: int) -> Self:
        """The agent fitted to a run: what must hold a whole episode is long enough, schedules end with the last update.

        What has to be as long as an episode is as long as the horizon's class (see `horizon_class`), so that an agent
        learns the same beside tasks of other horizons in that class. To fit twice is to fit once.
        """
        ...

    @property
    def memoryless(self) -> bool:
        """Whether the policy is a function of the current observation alone."""
        ...

    @property
    def reads(self) -> Reads:
        """What its policy is a function of."""
        ...

    @property
    def marked_wrong(self) -> bool:
        """Whether the theory says that the agent fails where o is not Markov: it is there to show by how much."""
        ...

    @property
    def acts(self) -> Literal["greedy", "sampled"]:
        """How its policy chooses when it is judged: the best action, or a draw."""
        ...

    def init(self, key: Array, env: Environment, params: Any) -> Any: ...

    def update(self, env: Environment, params: Any, state: Any) -> tuple[Any, dict[str, Array]]: ...

    def policy(self, env: Environment, params: Any, state: Any) -> Policy: ...

    def claim(self, env: Environment, params: Any, state: Any, key: Array) -> Array | None:
        """The value that the agent assigns to the start of an episode, a mean over first observations drawn by `key`.

        In units of return, a scalar; None of an agent that has no such value. What its policy earns is another matter.
        """
        return None

    def alarms(self, state: Any) -> dict[str, Array]:
        """Sentences of which a reader of the scores should know, each with whether it holds."""
        return {}


class MemorylessAgent(Agent, Protocol):
    """An agent that may be memoryless: its policy over a discrete observation is then a table, its value computed."""

    def probabilities(self, env: Environment, params: Any, state: Any) -> Array:
        """[O, A]: pi(a given o), of an agent that is `memoryless`."""
        ...


SHORTEST_CLASS = 32


def horizon_class(horizon: int) -> int:
    """The length for which a program is compiled: the power of two, at least 32, that holds the horizon."""
    return max(SHORTEST_CLASS, 1 << (horizon - 1).bit_length())


def whole_episodes(num_envs: int, length: int, horizon: int) -> tuple[int, int]:
    """(environments, steps) of a rollout that holds whole episodes of this horizon.

    It has as many steps in all as one of `num_envs` environments and `length` steps: fewer environments where it is
    longer, so that updates follow environment steps whatever the horizon.
    """
    longer = max(length, horizon_class(horizon))
    return max(1, num_envs * length // longer), longer


def updates_in(agent: Agent, steps: int) -> int:
    """How many updates come nearest to so many environment steps, at least one."""
    return max(1, round(steps / agent.steps_per_update))


def train(agent: Agent, env: Environment, params: Any, key: Array, steps: int) -> tuple[Any, dict[str, Array]]:
    """One whole run of about `steps` environment steps, for `jit` and `vmap`.

    The agent is fitted to the run first; to act by what was learned, ask the fitted agent:
    `agent.for_run(env.longest, steps).policy(env, params, state)`.

    Returns: the final state, and the metrics [updates].
    Raises: ValueError for an agent that cannot learn in this environment.
    """
    fitted = agent.for_run(env.longest, steps)
    step = lambda state, _: fitted.update(env, params, state)
    return jax.lax.scan(step, fitted.init(key, env, params), length=updates_in(fitted, steps))


def refuse_short(what: str, length: int, env: Environment) -> None:
    """Refuse an agent whose length does not hold a whole episode, so that it would not learn or act as it should.

    Raises: ValueError.
    """
    if length < env.longest:
        raise ValueError(
            f"{what} is {length}, shorter than the longest episode, {env.longest} steps: "
            "fit the agent with `for_run(env.longest, steps)`"
        )
