"""What is known of a discounted task without a horizon: the objective is `E[sum_t discount^t r_t]` over all t.

The history value is an interval by trials (`trials.Search`) with one set of bounds for all times. Below, plans begin
with the same action for ever; every other plan is an action followed by plans that stood before it, so that it is a
finite controller that ends in one action for ever. Above, points begin with the fast informed bound.

Source: Smith & Simmons (2005), Point-based POMDP algorithms; Hauskrecht (2000), section 4.3, for the informed bound.
"""

from __future__ import annotations

from itertools import product
from math import ceil, log

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

from seqrl_jax.exact.budget import Meter, Watch
from seqrl_jax.exact.controller import Controller, evaluate_infinite_controller, trimmed
from seqrl_jax.exact.graph import DecisionGraph, state_graph
from seqrl_jax.exact.hull import mixtures
from seqrl_jax.exact.interval import Interval
from seqrl_jax.exact.state import largest_reward, uniform_policy
from seqrl_jax.exact.trials import Plans, Points, Search, first_plans
from seqrl_jax.tasks.tabular import TabularPOMDP

TOLERANCE = 1e-9
"""Of the largest return: how far apart the ends may be that trials leave."""
ROUNDING = 1e-11
"""Of the largest return: what evaluations may be wrong by."""
EAGER = 0.3
"""How much of the gap at the start a trial leaves open: what is nearly closed need not be closed first."""
SWEEPS = 1000
"""At most; a bound is one after each."""
CHUNK = 64
"""Beliefs that are settled at once."""
FEW_STATES = 16
"""Beliefs over more are not settled: that would take longer than their trials."""
SETTLE = 2
"""Beliefs are settled after so many times as many looks ahead."""
DEEPEST = 100_000
"""How many steps a trial makes at most."""
MAPS = 300
"""So many memoryless policies are tried."""


def refuse_undiscounted(task: TabularPOMDP) -> None:
    """Raises ValueError where an infinite horizon has no finite value to speak of."""
    if task.discount == 1:
        raise ValueError(f"{task.name}: an infinite horizon needs a discount below 1, such as --discount 0.95")


def largest_infinite_return(task: TabularPOMDP) -> float:
    """What no return exceeds in size: the unit of tolerances. 1 where nothing pays."""
    return largest_reward(task) / (1 - task.discount) or 1.0


def infinite_history_interval(task: TabularPOMDP, meter: Meter, watch: Watch) -> tuple[Interval, Controller]:
    """The best value of a policy of the whole history, and the kept policy, whose value is the lower end."""
    scale = largest_infinite_return(task)
    search = infinite_search(task, meter)
    search.close(TOLERANCE * scale, watch, eager=EAGER)
    controller = infinite_plans(search)
    lower, _ = evaluate_infinite_controller(task, controller, ROUNDING * scale)
    upper = search.ends()[1] + ROUNDING * scale
    nodes = len(controller.action)
    method = f"lower: controller of {nodes} nodes by trials; upper: trials ({search.trials})"
    if upper < lower:
        raise AssertionError(f"{task.name}: the upper end is {upper}, below {lower}, the value of a policy")
    return Interval(lower, upper, method), controller


class InfiniteSearch(Search):
    """A search with one set of points, which it settles now and then: a trial looks at a belief for one step, and what
    follows from that for the beliefs that lead to it takes many."""

    _settled_looks, _settled_work = 0, 0.0

    def trial(self, tolerance: float) -> None:
        super().trial(tolerance)
        num_s, num_a = len(self.start), self.kernel.num_actions
        beliefs = num_s + len(self.points[-1].value)
        work = 2.0 * num_s * num_a * self.kernel.num_observations * beliefs**2
        if (
            num_s <= FEW_STATES
            and self.looks - self._settled_looks > SETTLE * beliefs
            and self.meter.work - self._settled_work > work
        ):
            self.settle()
            self.meter.work += work
            self._settled_looks, self._settled_work = self.looks, self.meter.work

    def settle(self) -> None:
        """Bring all points and corners to where one step ahead of each says nothing new.

        What is ahead is interpolated as it was: a bound by points and corners remains one with any lower bounds of
        those, and so does each sweep's. With the weights fixed, all sweeps are products with one sparse matrix
        (Hauskrecht, 2000, section 4.4: the fixed point of a grid of points).
        """
        points, num_s = self.points[-1], self.kernel.num_states
        beliefs = sparse.hstack([sparse.eye_array(num_s), points.beliefs], format="csc")
        chunks = (beliefs[:, begin : begin + CHUNK].toarray() for begin in range(0, beliefs.shape[1], CHUNK))
        parts = [self._interpolated(chunk) for chunk in chunks]
        fixed = np.concatenate([fixed for fixed, _ in parts])
        law = sparse.vstack([law for _, law in parts], format="csr")
        bound = np.concatenate([points.corners, points.value])
        for _ in range(SWEEPS):
            before = bound
            bound = np.minimum(bound, (fixed + law @ bound).reshape(len(bound), -1).max(1))
            if (before - bound).max() <= TOLERANCE * (1 - self.discount) * self.scale:
                break
        points.lower_to(bound[:num_s], bound[num_s:])
        known = points.beliefs.toarray().T
        point, weight = mixtures(known, points.drop, known)
        points.keep((weight * points.drop[point]).sum(1) <= (1 + ROUNDING) * points.drop)

    def _interpolated(self, beliefs: np.ndarray) -> tuple[np.ndarray, sparse.csr_array]:
        """The bounds of all actions' values at beliefs [S, B], `fixed + law @ bound`, with the bounds of corners and
        points.

        Returns: fixed: [B * A]. law: [B * A, S + P].
        """
        points, num_a, num_s = self.points[-1], self.kernel.num_actions, self.kernel.num_states
        entered = [self.entered(belief)[:2] for belief in beliefs.T]
        mass = np.concatenate([mass for mass, _ in entered], axis=1)
        row = np.concatenate([b * num_a + action for b, (_, action) in enumerate(entered)])
        known = points.beliefs.toarray().T
        point, weight = mixtures(known, points.drop, mass.T)
        corners = np.maximum(0, mass - np.einsum("nk,nks->sn", weight, known[point]))
        coarse = points.coarse(mass)
        late = coarse <= points.corners @ corners + (weight * points.value[point]).sum(1)
        count = beliefs.shape[1] * num_a
        fixed = (self.kernel.reward @ beliefs).T.ravel() + self.discount * np.bincount(row[late], coarse[late], count)
        corners[:, late], weight[late] = 0, 0
        (state, arrival), (other, k) = np.nonzero(corners), np.nonzero(weight)
        entries = np.concatenate([corners[state, arrival], weight[other, k]])
        places = np.concatenate([row[arrival], row[other]]), np.concatenate([state, num_s + point[other, k]])
        return fixed, sparse.csr_array((self.discount * entries, places), shape=(count, num_s + len(points.value)))


def infinite_search(task: TabularPOMDP, meter: Meter) -> InfiniteSearch:
    """The search before its first trial."""
    scale = largest_infinite_return(task)
    actions = np.arange(task.num_actions)
    plans = Plans(_for_ever(task), actions, np.repeat(actions[:, None], task.num_observations, 1))
    points = Points(infinite_informed_bound(task))
    # From this depth on, what can still be won or lost is below the tolerance at the start.
    depth = max(1, ceil(log(TOLERANCE / 2) / log(task.discount)))
    places = min(depth, DEEPEST) + 1
    return InfiniteSearch(task.kernel, task.discount, [plans] * places, [points] * places, scale, meter)


def infinite_plans(search: Search) -> Controller:
    """What a search proves its lower end with."""
    plans = search.plans[-1]
    parts = (first_plans(search), plans.action, plans.successor)
    return trimmed(Controller(*(part.astype(np.int32) for part in parts)))


def infinite_informed_bound(task: TabularPOMDP) -> np.ndarray:
    """Q: [A, S], an upper bound that sees the state one step late: `max_a b . Q(., a)` bounds the value of belief b.

    The fixed point of `Q(s, a) = R(s, a) + gamma sum_o max_a' sum_s' P(s', o | s, a) Q(s', a')`, approached from above.
    """
    kernel = task.kernel
    _, above, _ = infinite_state_values(task)
    bound = kernel.reward + task.discount * kernel.ahead(above)
    for _ in range(SWEEPS):
        before, bound = bound, np.minimum(bound, kernel.reward + task.discount * kernel.ahead_informed(bound))
        if (before - bound).max() <= TOLERANCE * (1 - task.discount) * largest_infinite_return(task):
            break
    return bound


def infinite_state_values(task: TabularPOMDP) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The optimum of a policy that sees the state: policy iteration, Puterman (1994), section 6.4.

    Returns: [S], the value of the policy; [S], a bound on every policy's, by Bellman's residual; [S] int, the policy.
    """
    kernel, states = task.kernel, np.arange(task.num_states)
    policy = kernel.reward.argmax(0)
    enough = ROUNDING * (1 - task.discount) * largest_infinite_return(task)
    while True:
        chosen = sum(sparse.diags_array((policy == a) * 1.0) @ move for a, move in enumerate(kernel.moves))
        values = discounted_sums(chosen, kernel.reward[policy, states], task.discount)
        action_values = kernel.reward + task.discount * kernel.ahead(values)
        gain = action_values.max(0) - action_values[policy, states]
        if gain.max() <= enough:
            residual = max(0.0, float((action_values.max(0) - values).max()))
            return values, values + residual / (1 - task.discount), policy
        policy = np.where(gain > enough, action_values.argmax(0), policy)


def infinite_state_interval(task: TabularPOMDP) -> tuple[Interval, np.ndarray]:
    """The best value of a policy that sees the state, and the policy, [S] int."""
    below, above, policy = infinite_state_values(task)
    lower, upper = float(task.initial @ below), float(task.initial @ above)
    return Interval(lower, max(lower, upper), "exact: policy iteration over states"), policy


def infinite_uniform(task: TabularPOMDP) -> Interval:
    """The value of acting at random."""
    value = infinite_policy_value(state_graph(task), uniform_policy(task))
    return Interval(value, value, "exact: a linear solve under the uniform policy")


def infinite_memoryless(
    task: TabularPOMDP, history_upper: float, meter: Meter
) -> tuple[Interval, np.ndarray, Interval, np.ndarray]:
    """Maps o -> a and pi(a given o): policies that are met on a climb over maps, below the history value.

    Args: meter: its seconds bound the climb.
    Returns: the interval and the policy [O, A] of maps, then those of stochastic policies.
    """
    graph, identity = state_graph(task), np.eye(task.num_actions)
    labels, tried = np.unique(graph.label), 0
    values = []
    for row in identity:
        values.append(infinite_policy_value(graph, np.tile(row, (task.num_observations, 1))))
        if meter.late():
            break
    actions, best = np.full(task.num_observations, int(np.argmax(values))), max(values)
    improved = True
    while improved and tried < MAPS and not meter.late():
        improved = False
        for label, action in product(labels, range(task.num_actions)):
            other = np.where(np.arange(task.num_observations) == label, action, actions)
            tried += 1
            value = infinite_policy_value(graph, identity[other])
            if value > best + ROUNDING * largest_infinite_return(task):
                actions, best, improved = other, value, True
            if tried >= MAPS or meter.late():
                break
    policy, uniform = identity[actions], infinite_uniform(task).lower
    above = "upper: the history value"
    deterministic = Interval(best, max(best, history_upper), f"lower: best of {tried} maps met; {above}")
    if best >= uniform:
        return deterministic, policy, deterministic, policy
    stochastic = Interval(uniform, max(uniform, history_upper), f"lower: the uniform policy; {above}")
    return deterministic, policy, stochastic, uniform_policy(task)


def infinite_policy_value(graph: DecisionGraph, policy: np.ndarray) -> float:
    """The value of a stationary policy of the label, [L, A], by a linear solve over the nodes."""
    by_node = policy[graph.label]
    count, num_a = by_node.shape
    rows = np.repeat(np.arange(count), num_a)
    average = sparse.csr_array((by_node.ravel(), (rows, np.arange(count * num_a))), shape=(count, count * num_a))
    values = discounted_sums(average @ graph.transition, (by_node * graph.reward).sum(1), graph.discount)
    return float(graph.start @ values)


def discounted_sums(law: sparse.sparray, reward: np.ndarray, discount: float) -> np.ndarray:
    """[N]: what a chain earns from each state, `v = reward + discount law v`."""
    return np.atleast_1d(spsolve(sparse.csc_array(sparse.eye_array(len(reward)) - discount * law), reward))


def _for_ever(task: TabularPOMDP) -> np.ndarray:
    """[A, S]: what each action earns that is taken for ever."""
    pairs = zip(task.kernel.moves, task.kernel.reward, strict=True)
    return np.stack([discounted_sums(move, reward, task.discount) for move, reward in pairs])
