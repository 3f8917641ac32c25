"""Returns, advantages and targets: one equation a function, time on the leading axis.

Shared conventions, for arrays [T, ...] with any trailing axes:
    reward_t: what the step from o_t paid.
    discount_t: what multiplies the value after step t: gamma, or 0 where the return ends with this step.
    continues_t: 1 where step t + 1 belongs to the same episode, 0 at an episode's last step, however it ended.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
from jax import Array


def reward_to_go(reward_t: Array, discount_t: Array) -> Array:
    """Discounted return from each step, `G_t = r_t + discount_t G_{t+1}`, with nothing after the last.

    Args: reward_t, discount_t: [T, ...].
    Returns: [T, ...]. Source: Sutton & Barto (2018), eq. 3.9.
    """
    chex.assert_equal_shape([reward_t, discount_t])

    def back(later: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, discount = step
        here = reward + discount * later
        return here, here

    return jax.lax.scan(back, jnp.zeros_like(reward_t[0]), (reward_t, discount_t), reverse=True)[1]


def return_so_far(reward_t: Array, weight_t: Array, first_t: Array) -> Array:
    """What the episode has paid before step t, `sum_{k<t} weight_k r_k` over its own steps.

    Args:
        reward_t, weight_t: [T, ...]; `weight_t = gamma^(steps since the episode began)`.
        first_t: [T, ...] bool, whether an episode begins at t.
    Returns: [T, ...], 0 at first steps.
    """
    chex.assert_equal_shape([reward_t, weight_t, first_t])

    def forward(paid: Array, step: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        reward, weight, first = step
        before = jnp.where(first, 0.0, paid)
        return before + weight * reward, before

    return jax.lax.scan(forward, jnp.zeros_like(reward_t[0]), (reward_t, weight_t, first_t))[1]


def gae(
    reward_t: Array, discount_t: Array, continues_t: Array, value_t: Array, next_value_t: Array, lambda_: Array | float
) -> Array:
    """Generalised advantage estimates, `A_t = delta_t + discount_t lambda continues_t A_{t+1}`.

    `delta_t = r_t + discount_t V(o_{t+1}) - V(o_t)`, where `next_value_t` is the value of the observation that really
    followed step t, never that of the next episode's first one. lambda = 0 gives the TD error of an actor-critic; with
    lambda = 1 and discount 0 at the end of episodes it is the return minus the value.

    Args: all [T, ...], lambda_ a scalar in [0, 1].
    Returns: [T, ...]. Source: Schulman et al. (2016), eq. 16.
    """
    chex.assert_equal_shape([reward_t, discount_t, continues_t, value_t, next_value_t])
    delta_t = reward_t + discount_t * next_value_t - value_t

    def back(later: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, decay = step
        here = delta + decay * later
        return here, here

    decay_t = discount_t * lambda_ * continues_t
    return jax.lax.scan(back, jnp.zeros_like(delta_t[0]), (delta_t, decay_t), reverse=True)[1]


def n_step_return(
    reward_t: Array,
    discount_t: Array,
    continues_t: Array,
    next_value_t: Array,
    steps: int,
    bonus_t: Array | float = 0.0,
) -> Array:
    """`G_t = r_t + discount_t (bonus_{t+1} + r_{t+1}) + ... ` over `steps` steps, then the value of what followed.

    Fewer steps where the episode or the arrays end: the return then bootstraps from the last observation that there is.

    Args:
        all [T, ...], `next_value_t` the value of the observation that really followed step t; steps: n >= 1.
        bonus_t: what goes into returns that continue behind step t - 1 and not into its own, such as the entropy's
            part `-temperature log pi(a_t)` of soft values; 0 gives plain returns.
    Returns: [T, ...]. Source: Sutton & Barto (2018), eq. 7.1; Nachum et al. (2017), eq. 15, with a bonus.
    """
    chex.assert_equal_shape([reward_t, discount_t, continues_t, next_value_t])
    bonus_t = bonus_t * jnp.ones_like(reward_t)
    target = reward_t + discount_t * next_value_t
    for _ in range(steps - 1):
        later = jnp.concatenate([bonus_t[1:] + target[1:], next_value_t[-1:]])
        goes_on = continues_t.at[-1].set(0.0)
        target = reward_t + discount_t * (goes_on * later + (1 - goes_on) * next_value_t)
    return target


def lambda_return(
    reward_t: Array, discount_t: Array, continues_t: Array, next_value_t: Array, lambda_: Array | float
) -> Array:
    """`G_t = r_t + discount_t ((1 - lambda) V(o_{t+1}) + lambda G_{t+1})`, with V alone where the episode ends at t.

    With `V = max_a Q` this is Peng's Q(lambda): the value is that of the observation *after* the reward.

    Args: all [T, ...]; `continues_t` may also be 0 where the return is to be cut for another reason, such as an
        exploratory a_{t+1} (Watkins). lambda_: a scalar in [0, 1].
    Returns: [T, ...]. Source: Sutton & Barto (2018), eq. 12.2 and sec. 12.10; Peng & Williams (1996).
    """
    chex.assert_equal_shape([reward_t, discount_t, continues_t, next_value_t])

    def back(later: Array, step: tuple[Array, ...]) -> tuple[Array, Array]:
        reward, discount, mix, value = step
        here = reward + discount * (value + mix * (later - value))
        return here, here

    steps = (reward_t, discount_t, lambda_ * continues_t, next_value_t)
    return jax.lax.scan(back, next_value_t[-1], steps, reverse=True)[1]


def vtrace(
    reward_t: Array,
    discount_t: Array,
    continues_t: Array,
    value_t: Array,
    next_value_t: Array,
    ratio_t: Array,
    lambda_: Array | float,
    clip_rho: Array | float,
    clip_c: Array | float,
) -> tuple[Array, Array]:
    """Targets of the value and advantages from the data of another policy.

    `v_t = V_t + rho_t delta_t + discount_t c_t (v_{t+1} - V_{t+1})` with `rho_t = min(clip_rho, ratio_t)` and
    `c_t = lambda min(clip_c, ratio_t)`; `A_t = rho_t (r_t + discount_t (V_{t+1} + lambda (v_{t+1} - V_{t+1})) - V_t)`;
    where the episode ends at t, V stands for v. With ratios of 1 these are V plus GAE, and GAE.

    Args: all [T, ...]; ratio_t: pi(a_t) / mu(a_t), of the policy that learns to the one that acted.
    Returns: targets and advantages, [T, ...]. Source: Espeholt et al. (2018), eq. 1 and sec. 4.2.
    """
    chex.assert_equal_shape([reward_t, discount_t, continues_t, value_t, next_value_t, ratio_t])
    rho_t = jnp.minimum(ratio_t, clip_rho)
    trace_t = discount_t * continues_t * lambda_ * jnp.minimum(ratio_t, clip_c)
    delta_t = rho_t * (reward_t + discount_t * next_value_t - value_t)

    def back(later: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, trace = step
        here = delta + trace * later
        return here, here

    correction_t = jax.lax.scan(back, jnp.zeros_like(delta_t[0]), (delta_t, trace_t), reverse=True)[1]
    later_t = lambda_ * continues_t * jnp.concatenate([correction_t[1:], jnp.zeros_like(correction_t[:1])])
    advantage_t = rho_t * (reward_t + discount_t * (next_value_t + later_t) - value_t)
    return value_t + correction_t, advantage_t


def on_policy(last_t: Array, follows_t: Array, exploring: Array | float) -> Array:
    """`continues_t` for action values: how much of a return goes on behind step t.

    Nothing where the episode ends; everything where the next action was the greedy one; `exploring` where it was not.
    At 1 that is an uncorrected return (Peng & Williams, 1996): it carries news far and fast, and takes exploratory
    actions for the policy's own. At 0 it is cut before them (Watkins, 1989), and unbiased.

    Args: last_t: [T, ...] bool. follows_t: [T, ...] bool, whether a_t was greedy. exploring: a scalar in [0, 1].
    Returns: [T, ...]; nothing is known of what follows the last step, whose entry is 1 unless the episode ends.
    """
    return weighted_by_next(last_t, jnp.where(follows_t, 1.0, exploring))


def weighted_by_next(last_t: Array, weight_t: Array) -> Array:
    """`continues_t` where a return goes on behind step t by the weight of a_{t+1}, and ends with the episode.

    Args: last_t: [T, ...] bool. weight_t: [T, ...], of a_t, in [0, 1].
    Returns: [T, ...]; nothing is known of what follows the last step, whose entry is 1 unless the episode ends.
    """
    goes_on = jnp.concatenate([weight_t[1:], jnp.ones_like(weight_t[:1])])
    return jnp.where(last_t, 0.0, goes_on)


def rescale(value: Array) -> Array:
    """`h(x) = sign(x) (sqrt(|x| + 1) - 1) + eps x`, which shrinks large values. Pohlen et al. (2018), sec. 3.2."""
    # sqrt(|x| + 1) - 1 without the difference, in which a small value loses its digits.
    return value / (jnp.sqrt(jnp.abs(value) + 1) + 1) + RESCALE_EPSILON * value


def unrescale(value: Array) -> Array:
    """The inverse of `rescale`, as precise for small values as for large ones.

    With `u = sqrt(|x| + 1) - 1` it is `|h(x)| = u + eps (u^2 + 2 u)` and `|x| = u^2 + 2 u`; u is the root of that
    quadratic equation in the form that has no differences. The published formula, prop. A.2 of Pohlen et al. (2018),
    has two, which cost single precision four digits.
    """
    size, linear = jnp.abs(value), 1 + 2 * RESCALE_EPSILON
    root = 2 * size / (linear + jnp.sqrt(linear**2 + 4 * RESCALE_EPSILON * size))
    return jnp.sign(value) * root * (root + 2)


RESCALE_EPSILON = 1e-3
