"""Tasks that go on for ever: where an episode would end the next passage begins, and what comes late counts less.

Nothing tells an agent from outside that what it remembers is over: no carry is cleared between two passages.
Source: Pleines et al. (2023), Memory Gym: towards endless tasks to benchmark memory capabilities of agents.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy import sparse

from seqrl_jax.tasks.tables import SparseTable, at, listed, with_data
from seqrl_jax.tasks.tabular import TabularPOMDP, TaskError, refuse_too_large, validated

NEGLIGIBLE = 1e-6
"""The share of max |reward| / (1 - discount) that may be earned beyond the horizon: what the suite calls exact."""
LARGEST_DISCOUNT = 0.999
"""Beyond it a horizon that leaves so little is longer than solvers and agents can use."""


def endless(task: TabularPOMDP) -> TabularPOMDP:
    """The same task without an end: what would enter a terminal state pays what it paid and begins anew.

    The next passage begins as the first one did, `s ~ initial` and `o ~ initial_observation[s]`, and the observation of
    its beginning is shown in place of that of the end. Where this is not what entering `s` shows on the way, a state of
    its own, `begun|s`, stands for the beginning. A task that never ends by itself loses its horizon only.

    Simulations and solvers have to stop, so a horizon remains, the least at which discount^horizon is at most
    `NEGLIGIBLE`: values differ by no more than this share of max |reward| / (1 - discount) from those of the endless
    task. It is a limit of the experiment and not of the task, so learners are right with `bootstrap_truncated=true`.

    Where an action leads to a state both directly and through the end, its reward there is the mean of the two.

    Raises: TaskError for a discount above `LARGEST_DISCOUNT`, and where the states become too many.
    """
    if task.discount > LARGEST_DISCOUNT:
        needed = f"one of at most {LARGEST_DISCOUNT}, discount=0.99 say"
        raise TaskError(f"{task.name}: its discount is {task.discount:g}, what is endless needs {needed}")
    onward = _beginning_anew(task) if task.terminal.any() else task
    return validated(replace(onward, horizon=math.ceil(math.log(NEGLIGIBLE) / math.log(task.discount))))


def _beginning_anew(task: TabularPOMDP) -> TabularPOMDP:
    lists = task.lists
    differs = [abs(law - lists.initial_observation).sum(1) > 0 for law in lists.observation]
    shown_otherwise = np.any(differs, axis=0) & (task.initial > 0)
    living, ends = np.flatnonzero(~task.terminal), np.flatnonzero(task.terminal)
    begun = np.flatnonzero(shown_otherwise)
    state = np.concatenate([living, begun])
    refuse_too_large(task.name, len(state), task.num_actions, task.num_observations)
    start = np.concatenate([np.where(shown_otherwise, 0, task.initial)[living], task.initial[begun]])
    begins, places = sparse.csr_array(start[None]), (len(state), len(state))

    def redirected(mass: sparse.csr_array) -> sparse.csr_array:
        """[S, S] -> [N, N] over `state`: what enters the end is spread over the start."""
        mass = mass[state]
        inside, ended = mass[:, living], mass[:, ends].sum(1)
        onward = sparse.csr_array((inside.data, inside.indices, inside.indptr), shape=places)
        return onward + sparse.csr_array(ended[:, None]) @ begins

    def shown(law: sparse.csr_array) -> sparse.csr_array:
        return sparse.vstack([law[living], lists.initial_observation[begun]], format="csr")

    laws = [shown(law) for law in lists.observation]
    # Without what only the end shows.
    kept = np.ones(task.num_observations, bool)
    kept[np.concatenate([law[ends].indices for law in lists.observation])] = False
    kept[np.concatenate([law.indices for law in laws])] = True
    seen = np.flatnonzero(kept)
    shown_still = tuple(task.observations[o] for o in seen)
    transition, reward = [], []
    for law, pay in zip(lists.transition, lists.reward, strict=True):
        onward = listed(redirected(law))
        paid = at(listed(redirected(with_data(law, law.data * pay.data))), onward)
        transition.append(onward)
        reward.append(with_data(onward, paid.data / onward.data))
    return replace(
        task,
        initial=start,
        # It is read where the start has mass, and there it is what any action shows.
        initial_observation=laws[0][:, seen],
        transition=SparseTable(tuple(transition)),
        observation=SparseTable(tuple(law[:, seen] for law in laws)),
        reward=SparseTable(tuple(reward)),
        terminal=np.zeros(len(state), bool),
        states=(*(task.states[s] for s in living), *(f"begun|{task.states[s]}" for s in begun)),
        observations=shown_still,
        blank=task.blank if task.blank in shown_still else None,
    )
