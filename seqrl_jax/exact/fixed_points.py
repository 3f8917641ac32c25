"""Where methods that treat the observation as a state end up: actor-critic, Q-learning and planning on counts.

Nothing is sampled: actor-critic follows its expected update, Q-learning and counts see the frequencies of infinitely
much data. A policy of the observation is a table [O, A], tables of action values are [O, A].

Sources: Singh, Jaakkola & Jordan (1994) for learning under state aliasing; Tsitsiklis & Van Roy (1997) for the critic.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax.exact.ascent import exact_value
from seqrl_jax.exact.chain import state_chain
from seqrl_jax.exact.graph import state_graph, timed_policy_value
from seqrl_jax.tasks.kernel import Kernel
from seqrl_jax.tasks.tabular import TabularPOMDP

FLOW_STEPS = 3000
LARGEST_MOVE = 0.3
NEARLY_PARALLEL = 0.5


@dataclass(frozen=True)
class Aggregated:
    """The decision process over observations that data of one behaviour shows: what a naive model counts.

    transition: [A, O, O], p(o' | o, a); the mass that is missing from 1 has ended. reward: [A, O], the mean.
    start: [O], the law of o_0. continues: [A, O], the share of steps whose value counts what follows, which is all
    but the last before the horizon.
    """

    transition: np.ndarray
    reward: np.ndarray
    start: np.ndarray
    continues: np.ndarray


def aggregated(task: TabularPOMDP, behaviour: np.ndarray, occupancy_discount: float = 1.0) -> Aggregated:
    """What infinitely much data of a behaviour [O, A] says of p(o' | o, a) and r(o, a).

    Args: occupancy_discount: step t counts this to the power of t; 1 counts every step alike, as agents do.
    An observation that the behaviour never meets leads nowhere and pays nothing.
    """
    kernel = task.kernel
    here = kernel.start.toarray()
    met, not_last = np.zeros_like(here), np.zeros_like(here)
    for t in range(task.horizon):
        met += occupancy_discount**t * here
        if t + 1 < task.horizon:
            not_last += occupancy_discount**t * here
        here = kernel.onward((here @ behaviour).T)
    # Given o_t the action is independent of the state, so that the shares of states are those of the observation.
    share = met / np.maximum(met.sum(0), 1e-300)
    moves = _seen(kernel, share)
    last_aware = _seen(kernel, not_last / np.maximum(met.sum(0), 1e-300)).sum(-1)
    return Aggregated(
        transition=moves,
        reward=kernel.reward @ share,
        start=np.asarray(kernel.start.sum(0)),
        continues=last_aware / np.maximum(moves.sum(-1), 1e-300),
    )


def _seen(kernel: Kernel, share: np.ndarray) -> np.ndarray:
    """[A, O, O]: what is seen next, from the shares of states at each observation, [S, O]."""
    return np.stack([(share.T @ move) @ show for move, show in zip(kernel.moves, kernel.shows, strict=True)])


LONGEST = 1 - 1e-12
"""How likely an episode goes on, at most: where the behaviour never comes to the end of a long one by the same action,
that action for ever would have no value."""


def q_fixed_point(task: TabularPOMDP, behaviour: np.ndarray, occupancy_discount: float = 1.0) -> np.ndarray:
    """[O, A]: what tabular Q-learning on the observation converges to under a fixed behaviour [O, A].

    `Q(o, a) = r(o, a) + gamma sum_o' p(o' | o, a) max_a' Q(o', a')` with the frequencies that the behaviour makes.
    Steps at the horizon bootstrap from nothing, as the agents' do.
    """
    model = aggregated(task, behaviour, occupancy_discount)
    onward = task.discount * np.minimum(model.continues, LONGEST)[..., None] * model.transition
    q = np.zeros_like(model.reward)
    # Policy iteration: each evaluation is exact, and there are finitely many policies.
    greedy = np.full(len(model.start), -1)
    for _ in range(1000):
        better = first_of_best(q)
        if (better == greedy).all():
            break
        greedy = better
        rows = np.arange(len(greedy))
        value = np.linalg.solve(np.eye(len(greedy)) - onward[greedy, rows], model.reward[greedy, rows])
        q = model.reward + onward @ value
    return q.T


def timed_q_fixed_point(task: TabularPOMDP, behaviour: np.ndarray) -> tuple[float, np.ndarray]:
    """The same where Q sees the time beside the observation: what it claims at the start, and its policy [H, O] int.

    Each step has frequencies of its own; where the observation is the state, this is the optimum.
    """
    kernel = task.kernel
    here, models = kernel.start.toarray(), []
    for _ in range(task.horizon):
        share = here / np.maximum(here.sum(0), 1e-300)
        models.append((_seen(kernel, share), kernel.reward @ share))
        here = kernel.onward((here @ behaviour).T)
    value, actions = np.zeros(task.num_observations), np.zeros((task.horizon, task.num_observations), int)
    for t in reversed(range(task.horizon)):
        moves, reward = models[t]
        q = reward + task.discount * moves @ value
        actions[t], value = first_of_best(q), q.max(0)
    return float(task.initial @ task.initial_observation @ value), actions


def plan(model: Aggregated, discount: float, horizon: int) -> tuple[float, np.ndarray]:
    """Value iteration on a naive model: what the plan claims at the start, and the plan [H, O] int."""
    value = np.zeros(len(model.start))
    actions = np.zeros((horizon, len(model.start)), int)
    for t in reversed(range(horizon)):
        q = model.reward + discount * model.transition @ value
        actions[t] = first_of_best(q)
        value = q.max(0)
    return float(model.start @ value), actions


def evaluate_plan(task: TabularPOMDP, actions: np.ndarray) -> float:
    """The exact value J of a deterministic policy of observation and time, [H, O] int."""
    return timed_policy_value(state_graph(task), np.eye(task.num_actions)[actions])


def predicted(task: TabularPOMDP, model: Aggregated, policy: np.ndarray) -> float:
    """What the naive model says that a stationary policy [O, A] earns within the horizon."""
    value = np.zeros(len(model.start))
    for _ in range(task.horizon):
        value = (policy.T * (model.reward + task.discount * model.transition @ value)).sum(0)
    return float(model.start @ value)


def retries(task: TabularPOMDP, model: Aggregated, action: int, times: int) -> tuple[np.ndarray, np.ndarray]:
    """Doing the same again and again: the probability that try k ends the episode, given that no earlier one did.

    Returns: what the naive model believes [times], and what is true [times]; NaN from where no try is left.
    """
    alive = task.kernel.moves[action]
    seen, hidden = model.start.copy(), task.initial.copy()
    believed, true = np.full(times, np.nan), np.full(times, np.nan)
    for k in range(times):
        for mass, moves, ends in ((seen, model.transition[action], believed), (hidden, alive, true)):
            if mass.sum() > 1e-12:
                after = mass / mass.sum() @ moves
                ends[k], mass[:] = 1 - after.sum(), after
    return believed, true


def actor_critic(
    task: TabularPOMDP, lambdas: np.ndarray, occupancy_discount: float = 1.0, steps: int = FLOW_STEPS
) -> tuple[np.ndarray, np.ndarray]:
    """Where expected actor-critic with GAE(lambda) on V(o) ends, from the uniform policy, and what that earns.

    The flow `d theta / dt = E[sum_t gamma^t A_t grad log pi]` of softmax logits, with the critic at its fixed point for
    the policy of the moment. Steps follow it closely: they shrink when the direction turns, and are bounded.

    Args: lambdas: [L]. occupancy_discount: of the critic's errors, see `gradients.critic`.
    Returns: values [L], policies [L, O, A].
    """
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        flow = jax.jit(jax.vmap(lambda lambda_: _flow(task, lambda_, occupancy_discount, steps)))
        value, policy = flow(jnp.asarray(lambdas, jnp.float64))
        return np.asarray(value), np.asarray(policy)


def expected_update(task: TabularPOMDP, lambda_: Array | float, occupancy_discount: float, logits: Array) -> Array:
    """[O, A]: the expectation of the actor-critic's update at these logits; to be traced with 64-bit types."""
    chain = state_chain(task)
    num_n, num_a, num_o = chain.num_nodes, chain.num_actions, task.num_observations
    moves = jnp.asarray(chain.transition.toarray().reshape(num_n, num_a, num_n))
    reward, start = jnp.asarray(chain.reward), jnp.asarray(chain.start)
    seen = jax.nn.one_hot(jnp.asarray(chain.label), num_o, dtype=reward.dtype)
    by_node = jax.nn.softmax(logits)[chain.label]
    onward = chain.discount * jnp.einsum("na,nam->nm", by_node, moves)
    paid = (by_node * reward).sum(1)

    def forward(here: Array, _: None) -> tuple[Array, Array]:
        return here @ onward / chain.discount, here

    met = jax.lax.scan(forward, start, length=chain.horizon)[1]
    time = jnp.arange(chain.horizon)
    weight = met * jnp.power(occupancy_discount, time)[:, None]
    not_last = (time + 1 < chain.horizon).astype(reward.dtype)

    # A_t = constant_t + slope_t V; column 0 is the constant. Averages are over the policy's actions.
    def back(after: Array, not_last: Array) -> tuple[Array, Array]:
        here = jnp.concatenate([paid[:, None], not_last * onward @ seen - seen], 1) + lambda_ * onward @ after
        return here, here

    nothing = jnp.zeros((num_n, 1 + num_o), reward.dtype)
    parts = jax.lax.scan(back, nothing, not_last, reverse=True)[1]
    system = jnp.einsum("no,tn,tnp->op", seen, weight, parts)
    # What the policy never meets has no value; its row of the system is empty.
    never = jnp.einsum("no,tn->o", seen, weight) < 1e-12
    values = jnp.linalg.solve(-system[:, 1:] + jnp.diag(never.astype(reward.dtype)), system[:, 0])
    advantage = jnp.einsum("tnp,p->tn", parts, jnp.concatenate([jnp.ones(1), values]))
    later = jnp.concatenate([advantage[1:], jnp.zeros_like(advantage[:1])])
    ahead = not_last[:, None] * (seen @ values) + lambda_ * later
    by_action = reward - (seen @ values)[:, None] + chain.discount * jnp.einsum("nam,tm->tna", moves, ahead)
    discounted = met * jnp.power(chain.discount, time)[:, None]
    gained = jnp.einsum("no,tn,tna->oa", seen, discounted, by_node * by_action)
    return gained - jax.nn.softmax(logits) * gained.sum(1, keepdims=True)


def _flow(task: TabularPOMDP, lambda_: Array, occupancy_discount: float, steps: int) -> tuple[Array, Array]:
    update = lambda logits: expected_update(task, lambda_, occupancy_discount, logits)

    def move(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
        logits, direction, rate = carry
        largest = jnp.abs(direction).max() + 1e-300
        there = logits + jnp.minimum(rate, LARGEST_MOVE / largest) * direction
        turned = update(there)
        norms = jnp.sqrt(jnp.square(direction).sum() * jnp.square(turned).sum()) + 1e-300
        close = (direction * turned).sum() / norms > NEARLY_PARALLEL
        keep = lambda new, old: jnp.where(close, new, old)
        rate = jnp.clip(rate * jnp.where(close, 1.2, 0.3), 1e-6, 1e12)
        return (keep(there, logits), keep(turned, direction), rate), None

    first = jnp.zeros((task.num_observations, task.num_actions), jnp.float64)
    (logits, _, _), _ = jax.lax.scan(move, (first, update(first), jnp.float64(1.0)), length=steps)
    policy = jax.nn.softmax(logits)
    return exact_value(task)(policy), policy


def first_of_best(q: np.ndarray) -> np.ndarray:
    """The best action of each column of [A, O], the first of those that are equal but for rounding."""
    return (q >= q.max(0) - 1e-9 * (1 + np.abs(q.max(0)))).argmax(0)
