"""Build a tabular task from functions that read like its definition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqrl_jax.tasks.tables import table_of
from seqrl_jax.tasks.tabular import TabularPOMDP, refuse_too_large, validated

END = "end"
Distribution = Mapping[Any, float]


@dataclass(frozen=True)
class Outcome:
    """Where one action leads and what it pays."""

    state: Hashable
    reward: float


def ends(reward: float) -> Outcome:
    """The episode ends, paying `reward`."""
    return Outcome(END, reward)


def goes(state: Hashable, reward: float = 0.0) -> Outcome:
    """The state becomes `state`, paying `reward`."""
    return Outcome(state, reward)


def uniform(values: Iterable[Any]) -> dict[Any, float]:
    """Each value with the same probability."""
    listed = list(values)
    return {value: 1 / len(listed) for value in listed}


def chance(probability: float, value: Any, otherwise: Any) -> dict[Any, float]:
    """`value` with this probability, else `otherwise`; impossible outcomes are left out."""
    pair = {value: probability, otherwise: 1 - probability} if value != otherwise else {value: 1.0}
    return {outcome: p for outcome, p in pair.items() if p > 0}


def label(value: Hashable) -> str:
    """A name for a state: the parts of a tuple joined by `_`, led by a letter, so `("left", 2)` becomes `left_2`."""
    joined = _joined(value)
    return joined if joined[0].isalpha() else f"s{joined}"


def _joined(value: Hashable) -> str:
    return "_".join(_joined(part) for part in value) if isinstance(value, tuple) else str(value)


def build(
    name: str,
    states: Iterable[Hashable],
    actions: Sequence[str],
    observations: Sequence[str],
    start: Distribution,
    step: Callable[[Any, str], Outcome | Mapping[Outcome, float]],
    observe: Callable[[Any], str | Distribution],
    discount: float,
    horizon: int,
    observe_after: Callable[[str, Any], str | Distribution] | None = None,
    blank: str | None = None,
) -> TabularPOMDP:
    """Tabulate a task.

    Args:
        name: the task's name.
        states: the non-terminal states, any hashable values. A terminal state `end`, which emits the observation
            `end`, is added when some action ends the episode.
        actions, observations: names.
        start: state -> probability.
        step: (state, action) -> an `Outcome`, or a mapping of outcomes to probabilities.
        observe: state -> observation or distribution, at reset (o_0) and, without `observe_after`, after every step.
        discount, horizon: of the objective.
        observe_after: (action, entered state) -> observation or distribution.
        blank: the observation that says nothing, if there is one.

    Raises:
        TaskError: the arrays are no POMDP (see `validated`), or too large.
    """
    states = list(states)
    refuse_too_large(name, len(states) + 1, len(actions), len(observations) + 1)
    outcomes = {(s, a): _as_distribution(step(s, a), Outcome) for s in states for a in actions}
    ending = any(outcome.state == END for law in outcomes.values() for outcome in law)
    if ending:
        states.append(END)
        observations = [*observations, END]
    number = {s: i for i, s in enumerate(states)}
    action_number = {a: i for i, a in enumerate(actions)}
    token = {o: i for i, o in enumerate(observations)}
    observe_after = observe_after or (lambda _, s: observe(s))
    # (action, state, entered or seen) -> probability, or probability times reward.
    moves, pays, first, shown = (defaultdict[tuple[int, int, int], float](float) for _ in range(4))
    for (s, a), law in outcomes.items():
        for outcome, p in law.items():
            cell = action_number[a], number[s], number[outcome.state]
            moves[cell] += p
            pays[cell] += p * outcome.reward
    if ending:
        moves.update(((a, number[END], number[END]), 1.0) for a in range(len(actions)))
    for s, i in number.items():
        for o, p in _as_distribution(END if s == END else observe(s), str).items():
            first[0, i, token[o]] += p
        for j, a in enumerate(actions):
            for o, p in _as_distribution(END if s == END else observe_after(a, s), str).items():
                shown[j, i, token[o]] += p

    mean_pay = {cell: paid / moves[cell] for cell, paid in pays.items() if moves[cell] > 0}
    seen = (len(states), len(observations))
    return validated(
        TabularPOMDP(
            initial=np.array([start.get(s, 0.0) for s in states]),
            initial_observation=table_of((1, *seen), first)[0],
            transition=table_of((len(actions), len(states), len(states)), moves),
            observation=table_of((len(actions), *seen), shown),
            reward=table_of((len(actions), len(states), len(states)), mean_pay),
            terminal=np.array([s == END for s in states]),
            discount=discount,
            horizon=horizon,
            name=name,
            states=tuple(label(s) for s in states),
            actions=tuple(actions),
            observations=tuple(observations),
            blank=blank,
        )
    )


def _as_distribution(value: Any, single: type) -> Mapping[Any, float]:
    return {value: 1.0} if isinstance(value, single) else value
