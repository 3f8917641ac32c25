"""What an estimate of the policy gradient is worth: its exact expectation and its exact variance.

A policy of the observation is softmax of logits [O, A]. From one episode the agents estimate its gradient by

    g = sum_t gamma^t (A_t - b_t) grad log pi(a_t | o_t),    A_t = x_t + trace A_{t+1},
    x_t = r_t + gamma V_{t+1} - V_t

with V = 0 and trace = gamma for a return, V the critic's and trace = gamma lambda for GAE(lambda). Nothing is sampled:
the moments of A_t, of the sum from t on, and of their product follow from those at t + 1, node by node.

Source: Williams (1992); Schulman et al. (2016); Greensmith, Bartlett & Baxter (2004) for baselines and variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.exact.ascent import exact_value
from seqrl_jax.exact.chain import Chain, occupancy
from seqrl_jax.tasks.tabular import TabularPOMDP


@dataclass(frozen=True)
class Moments:
    """Of an estimate from one episode. mean: [O, A]. variance: the trace of its covariance."""

    mean: np.ndarray
    variance: float


def softmax(logits: np.ndarray) -> np.ndarray:
    """[..., A] -> [..., A]."""
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def true_gradient(task: TabularPOMDP, logits: np.ndarray) -> np.ndarray:
    """dJ / dlogits [O, A], by differentiating the exact value."""
    with jax.enable_x64(True):
        value = exact_value(task)
        return np.asarray(jax.grad(lambda logits: value(jax.nn.softmax(logits)))(jnp.asarray(logits, jnp.float64)))


def node_values(chain: Chain, policy: np.ndarray) -> np.ndarray:
    """[H + 1, N]: what the policy [O, A] earns from a node at step t on, in units of reward at step t."""
    by_node = policy[chain.label]
    reward = (by_node * chain.reward).sum(1)
    values = np.zeros((chain.horizon + 1, chain.num_nodes))
    for t in reversed(range(chain.horizon)):
        values[t] = reward + chain.discount * (by_node * chain.ahead(values[t + 1])).sum(1)
    return values


def critic(
    chain: Chain,
    policy: np.ndarray,
    classes: np.ndarray,
    lambda_: float,
    occupancy_discount: float = 1.0,
) -> np.ndarray:
    """What TD(lambda) converges to where nodes of one class share a value; at lambda = 1 the mean return.

    V solves `sum_t weight_t E[A_t(V); class] = 0` for every class, where A_t is GAE(lambda) with V: Tsitsiklis &
    Van Roy (1997), for tables of classes instead of linear features.

    Args:
        policy: [O, A]. classes: [N] int, what the critic sees of a node.
        occupancy_discount: weight_t is this to the power of t; 1 counts every step alike, as the agents do.
    Returns: [C], 0 for classes that the policy never meets.
    """
    by_node = policy[chain.label]
    seen = np.eye(classes.max() + 1)[classes]
    reward = (by_node * chain.reward).sum(1)
    onward = lambda values: chain.discount * np.einsum("na,na...->n...", by_node, chain.ahead(values))
    weight = occupancy(chain, policy) * occupancy_discount ** np.arange(chain.horizon)[:, None]
    # A_t = constant_t + slope_t V, backwards in time.
    constant, slope = np.zeros(chain.num_nodes), np.zeros_like(seen)
    constants, slopes = np.zeros(seen.shape[1]), np.zeros((seen.shape[1],) * 2)
    for t in reversed(range(chain.horizon)):
        constant = reward + lambda_ * onward(constant)
        slope = lambda_ * onward(slope) - seen + (onward(seen) if t + 1 < chain.horizon else 0.0)
        weighted = (seen * weight[t][:, None]).T
        constants += weighted @ constant
        slopes += weighted @ slope
    met = (seen * weight.sum(0)[:, None]).sum(0) > 0
    values = np.zeros(seen.shape[1])
    values[met] = np.linalg.solve(-slopes[np.ix_(met, met)], constants[met])
    return values


def class_values(chain: Chain, policy: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """[C]: what the policy [O, A] earns on average from nodes of a class [N] on; 0 for classes that it never meets.

    Where a class is met at one step only, as a history is, every TD(lambda) converges to it.
    """
    met = occupancy(chain, policy)
    earned = (met * node_values(chain, policy)[:-1]).sum(0)
    weight = np.bincount(classes, met.sum(0))
    return np.bincount(classes, earned) / np.where(weight > 0, weight, 1.0)


def expected_estimate(
    chain: Chain,
    policy: np.ndarray,
    trace: float,
    value: np.ndarray | float = 0.0,
    baseline: np.ndarray | float = 0.0,
) -> np.ndarray:
    """[O, A]: the mean of the estimate g above, as in `moments` but from A_t alone: large chains cost little."""
    shape = (chain.horizon, chain.num_nodes)
    value, baseline = np.broadcast_to(value, shape), np.broadcast_to(baseline, shape)
    by_node, met = policy[chain.label], occupancy(chain, policy)
    weighted, first = np.zeros_like(by_node), np.zeros(chain.num_nodes)
    for t in reversed(range(chain.horizon)):
        then = chain.discount * value[t + 1] if t + 1 < chain.horizon else 0.0
        mean = chain.reward - value[t][:, None] + chain.ahead(then + trace * first)
        weighted += chain.discount**t * met[t][:, None] * by_node * (mean - baseline[t][:, None])
        first = (by_node * mean).sum(1)
    gained = np.zeros_like(policy)
    np.add.at(gained, chain.label, weighted)
    return gained - policy * gained.sum(1, keepdims=True)


def moments(
    chain: Chain,
    policy: np.ndarray,
    trace: float,
    value: np.ndarray | float = 0.0,
    baseline: np.ndarray | float = 0.0,
) -> Moments:
    """Of the estimate g above, for a policy [O, A].

    Args: trace: in [0, discount]. value, baseline: V and b, broadcast to [H, N].
    """
    shape = (chain.horizon, chain.num_nodes)
    value, baseline = np.broadcast_to(value, shape), np.broadcast_to(baseline, shape)
    by_node, gamma = policy[chain.label], chain.discount
    score = _Score(chain, policy)
    nothing = np.zeros(chain.num_nodes)
    first, second, sum_squared = nothing, nothing, nothing
    sums, products = score.nothing(), score.nothing()
    for t in reversed(range(chain.horizon)):
        here, below = value[t][:, None], baseline[t][:, None]
        then = gamma * value[t + 1] if t + 1 < chain.horizon else nothing
        # later = gamma V' + trace A', the part of A_t that is not yet known at step t, given the next node.
        later = then + trace * first
        later_squared = then**2 + 2 * then * trace * first + trace**2 * second
        later_ahead = chain.ahead(later)
        mean = chain.reward - here + later_ahead
        square = (
            chain.square
            - 2 * here * chain.reward
            + here**2
            + 2 * (chain.paid_ahead(later) - here * later_ahead)
            + chain.ahead(later_squared)
        )
        sums_ahead = chain.ahead(sums)
        # E[A_t Y'], where Y' is the sum from t + 1 on.
        with_sums = (
            chain.paid_ahead(sums)
            - here[..., None, None] * sums_ahead
            + chain.ahead(then[:, None, None] * sums + trace * products)
        )
        centred = with_sums - below[..., None, None] * sums_ahead
        squared_by_action = (
            (square - 2 * below * mean + below**2) * score.squared
            + 2 * gamma * score.dot(centred)
            + gamma**2 * chain.ahead(sum_squared)
        )
        sum_squared = (by_node * squared_by_action).sum(1)
        sums = score.average(mean - below, gamma * sums_ahead)
        products = score.average(square - below * mean, gamma * with_sums)
        first, second = (by_node * mean).sum(1), (by_node * square).sum(1)
    return _at_start(chain, sums, sum_squared)


def total_return_moments(chain: Chain, policy: np.ndarray) -> Moments:
    """Of `R sum_t grad log pi(a_t | o_t)`, where R is the return of the whole episode: REINFORCE as first written."""
    by_node, gamma = policy[chain.label], chain.discount
    score = _Score(chain, policy)
    # Expectations of G^i, of G^i U and of G^i |U|^2 for i = 0, 1, 2; U is the sum of scores from t on, G the return.
    powers = [np.ones(chain.num_nodes), np.zeros(chain.num_nodes), np.zeros(chain.num_nodes)]
    sums = [score.nothing() for _ in range(3)]
    squares = [np.zeros(chain.num_nodes) for _ in range(3)]

    def expand(parts: list[np.ndarray], i: int) -> np.ndarray:
        """E[(r + gamma G')^i W'] per action, from the expectations of G'^i W' at the next node."""
        if i == 0:
            return chain.ahead(parts[0])
        if i == 1:
            return chain.paid_ahead(parts[0]) + gamma * chain.ahead(parts[1])
        cross = 2 * gamma * chain.paid_ahead(parts[1])
        return chain.paid_squared_ahead(parts[0]) + cross + gamma**2 * chain.ahead(parts[2])

    for t in reversed(range(chain.horizon)):
        ends = t + 1 == chain.horizon
        ahead = [[np.zeros_like(part) for part in parts] if ends else parts for parts in (powers, sums, squares)]
        power_by_action = [
            np.ones_like(chain.reward),
            chain.reward + gamma * chain.ahead(ahead[0][1]),
            chain.square + 2 * gamma * chain.paid_ahead(ahead[0][1]) + gamma**2 * chain.ahead(ahead[0][2]),
        ]
        later_sums = [expand(ahead[1], i) for i in range(3)]
        later_squares = [expand(ahead[2], i) for i in range(3)]
        powers = [(by_node * power).sum(1) for power in power_by_action]
        sums = [score.average(power, later) for power, later in zip(power_by_action, later_sums, strict=True)]
        squares = [
            (by_node * (power * score.squared + 2 * score.dot(later) + square)).sum(1)
            for power, later, square in zip(power_by_action, later_sums, later_squares, strict=True)
        ]
    return _at_start(chain, sums[1], squares[2])


class _Score:
    """grad log pi(a | o) at every node and action: one row of [O, A], that of the node's label."""

    def __init__(self, chain: Chain, policy: np.ndarray) -> None:
        self.nodes, self.label, self.policy = np.arange(chain.num_nodes), chain.label, policy
        self.by_node = policy[chain.label]
        # [N, A, A]: the row of the label, for every action taken.
        self.rows = np.eye(chain.num_actions) - self.by_node[:, None, :]
        self.squared = np.square(self.rows).sum(-1)

    def nothing(self) -> np.ndarray:
        """[N, O, A] zeros."""
        return np.zeros((len(self.nodes), *self.policy.shape))

    def dot(self, vectors: np.ndarray) -> np.ndarray:
        """[N, A]: the score's product with vectors [N, A, O, A], one per action taken."""
        return np.einsum("nab,nab->na", self.rows, vectors[self.nodes, :, self.label])

    def average(self, scalar: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """[N, O, A]: the mean over actions of `scalar` [N, A] times the score, plus `vectors` [N, A, O, A]."""
        mean = np.einsum("na,na...->n...", self.by_node, vectors)
        mean[self.nodes, self.label] += np.einsum("na,nab->nb", self.by_node * scalar, self.rows)
        return mean


def _at_start(chain: Chain, sums: np.ndarray, sum_squared: np.ndarray) -> Moments:
    mean = np.einsum("n,n...->...", chain.start, sums)
    return Moments(mean, float(chain.start @ sum_squared - np.square(mean).sum()))
