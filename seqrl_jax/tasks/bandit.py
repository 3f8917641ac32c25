"""A bandit whose arms are new in every episode: what has to be kept is what every arm has paid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import comb
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from msgspec import Meta

from seqrl_jax.tasks.environment import Discrete, Transition, Whole
from seqrl_jax.tasks.ready import HISTORY, MEMORYLESS, Certificate, Ready, exactly

Arms = Annotated[int, Meta(ge=2, le=20)]
Pulls = Annotated[int, Meta(ge=1, le=1000)]
MOST_COUNTS = 8_000_000
"""Numbers in the beliefs among which a best policy is searched for, a second's work."""


class BanditState(NamedTuple):
    """mean: [K], the chance that an arm pays. time: pulls."""

    mean: Array
    time: Array


@dataclass(frozen=True)
class Bandit(Whole):
    """Observed is 0 at first, then 1 + 2 times the arm that was pulled, plus what it paid."""

    arms: int
    longest: int

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.arms)

    @property
    def observation_space(self) -> Discrete:
        return Discrete(1 + 2 * self.arms)

    def reset(self, key: Array, params: Any) -> tuple[Array, BanditState]:
        return jnp.int32(0), BanditState(jax.random.uniform(key, (self.arms,)), jnp.int32(0))

    def step(self, key: Array, state: BanditState, action: Array, params: Any) -> Transition:
        pays = jax.random.bernoulli(key, state.mean[action])
        time = state.time + 1
        obs = 1 + 2 * action + pays.astype(jnp.int32)
        after = BanditState(state.mean, time)
        return Transition(obs, after, pays.astype(jnp.float32), time == self.longest, jnp.bool_(False), {})


def multi_armed_bandit(arms: Arms = 2, horizon: Pulls = 20) -> Ready:
    """Every arm pays 1 with a chance of its own, drawn uniformly in every episode, and else nothing. The agent pulls
    `horizon` times and sees which arm it pulled last and what that paid.

    Picture::

        pull b: 0    pull a: 1    pull a: 1    pull a: 0    pull ...?

    Seed idea: exploration is a matter of memory. The best policy is known, and counts.
    Source: Duan et al. (2016), RL^2, sec. 3.1.
    Optimum: by induction over the counts of all arms, where they can be listed: of two arms up to 80 pulls, of three up
    to 27. Beyond, an interval. Memoryless: at least win-stay, lose-shift; at most the optimum.
    """
    blind = win_stay_lose_shift(arms, horizon)
    history = _history(arms, horizon, blind)
    how = "lower: win-stay, lose-shift; upper: the history value"
    # Of two pulls both are the same, but for rounding.
    memoryless = Certificate(min(blind, history.upper), history.upper, how)
    return Ready(Bandit(arms, horizon), (), {MEMORYLESS: memoryless, HISTORY: history})


def _history(arms: int, horizon: int, blind: float) -> Certificate:
    """blind: the value of a policy that needs no memory."""
    explored = min(horizon, _listable(arms))
    rest = horizon - explored
    if not rest:
        return exactly(belief_value(arms, horizon), "backward induction over the counts of all arms")
    committed = belief_value(arms, explored, committed=rest)
    shown = belief_value(arms, explored) + rest * arms / (arms + 1)
    best = "win-stay, lose-shift" if blind > committed else f"one arm from pull {explored + 1} on, the best until then"
    return Certificate(max(committed, blind), shown, f"lower: {best}; upper: shown the best arm after {explored} pulls")


def _listable(arms: int) -> int:
    """The most pulls in which so few beliefs are met, of 2K counts each, that all are searched."""
    pulls = 0
    while comb(pulls + 1 + 2 * arms, 2 * arms) * 2 * arms <= MOST_COUNTS:
        pulls += 1
    return pulls


@cache
def belief_value(arms: int, horizon: int, discount: float = 1.0, committed: int = 0) -> float:
    """The value of a best policy of a bandit with uniform priors, by backward induction over posterior counts.

    A belief after t pulls is how often each arm has paid and not: 2K counts c that sum to t. Their partial sums
    p_i = c_1 + ... + c_i with i < 2K number it: belief sum_i C(p_i + i - 1, i) of those with t pulls.

    Args: committed: pulls after the last one that is chosen, all of the arm with the largest posterior mean.
    Returns: the expected sum of discount^t r_t, without a discount for the committed ones.
    """
    parts = 2 * arms
    order = np.arange(1, parts)
    number = np.array([[comb(p + i - 1, i) for i in range(1, parts)] for p in range(horizon + 2)])
    partial = _partial_sums(horizon, parts - 1)

    def beliefs(pulls: int) -> tuple[np.ndarray, np.ndarray]:
        """Partial sums [N, 2K - 1] and posterior means [N, K] of all beliefs after so many pulls."""
        sums = partial[: comb(pulls + parts - 1, parts - 1)]
        counts = np.diff(sums, axis=1, prepend=0, append=pulls)
        return sums, (counts[:, ::2] + 1) / (counts[:, ::2] + counts[:, 1::2] + 2)

    value = committed * beliefs(horizon)[1].max(1)
    for pulls in reversed(range(horizon)):
        sums, mean = beliefs(pulls)
        after = [value[number[sums + (order > part), order - 1].sum(1)] for part in range(parts)]
        paid, missed = np.stack(after[::2], 1), np.stack(after[1::2], 1)
        value = (mean * (1 + discount * paid) + (1 - mean) * discount * missed).max(1)
    return float(value[0])


def _partial_sums(largest: int, length: int) -> np.ndarray:
    """[N, length]: all sequences 0 <= p_1 <= ... <= p_length <= largest, ordered by the last, then the one before."""
    if length == 0:
        return np.zeros((1, 0), np.int64)
    shorter = _partial_sums(largest, length - 1)
    blocks = [shorter[: comb(last + length - 1, length - 1)] for last in range(largest + 1)]
    return np.concatenate([np.pad(rows, ((0, 0), (0, 1)), constant_values=last) for last, rows in enumerate(blocks)])


def win_stay_lose_shift(arms: int, horizon: int) -> float:
    """The value of staying with an arm for as long as it pays, then going to the next one, round and round.

    All pulls pay but the last one of each visit, so this is `horizon` less the expected number of visits that end in
    time. An arm's first v visits take j pulls with probability v / (j (j + 1)), j >= v, over its uniform mean; the
    arms' visits are independent, and the n-th visit ends in time if n visits take no more than `horizon` pulls.
    """
    pulls = np.arange(1, horizon + 1)
    size = 2 ** int(np.ceil(np.log2(arms * horizon + 1)))

    def transformed(visits: int) -> np.ndarray:
        law = np.where(pulls >= visits, visits / (pulls * (pulls + 1.0)), 0.0)
        return np.fft.rfft(np.concatenate([[float(visits == 0)], law]), size)

    ended = 0.0
    for visit in range(1, horizon + 1):
        rounds, further = divmod(visit, arms)
        spectrum = transformed(rounds) ** (arms - further) * transformed(rounds + 1) ** further
        ended += np.fft.irfft(spectrum, size)[: horizon + 1].sum()
    return float(horizon - ended)
