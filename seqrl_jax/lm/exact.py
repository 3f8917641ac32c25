"""The exact side of one-step alignment: optimal policies, their trade of reward against KL, and where a model stands.

    max_pi E_x[ E_pi[r(x, y)] - beta KL(pi(. | x) || pi_0(. | x)) ]

is solved by `pi* = pi_0 exp(r / beta) / Z` with the value `beta log Z` (Todorov, 2009; Rafailov et al., 2023, eq. 4).
As beta runs from infinity to 0 these policies are the frontier: no policy earns more at the KL that it spends.

Laws are arrays of log-probabilities [N, C] over N equally likely prompts and C outcomes; -inf where there is no
outcome. An outcome is a completion, or a set of completions with the same reward. All in float64 numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import logsumexp

from seqrl_jax.lm.base import token_log_probs
from seqrl_jax.lm.sampling import drawn_mask
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights

Law = np.ndarray
MOST_COMPLETIONS = 8**6
CHUNK = 4096
"""Texts that are read at once."""


def is_listed(task: LMTask) -> bool:
    """Whether all completions can be listed; otherwise only those with a reward."""
    return task.rewarded is None


def completions(size: int, length: int, end: int | None) -> np.ndarray:
    """[C, L]: every completion once, in the order of the numbers that its tokens write in base V."""
    if size**length > MOST_COMPLETIONS:
        raise ValueError(f"{size}^{length} completions are too many to list, {MOST_COMPLETIONS} at most")
    texts = np.stack(np.unravel_index(np.arange(size**length), (size,) * length), -1).astype(np.int32)
    behind_end = np.cumsum(texts == end, 1) > 0 if end is not None else np.zeros(texts.shape, bool)
    return texts[~(behind_end & (texts != end)).any(1)]


@cache
def outcome_rewards(task: LMTask) -> np.ndarray:
    """[N, C]: the gold reward of every outcome: of every completion, or of those in `rewarded` and last of the others.

    Computed once for each task; not to be written to.
    """
    prompts = jnp.asarray(task.prompts, jnp.int32)
    of_prompt = lambda prompt, texts: jax.vmap(lambda text: task.gold(prompt, text))(texts)
    if is_listed(task):
        texts = jnp.asarray(completions(task.size, task.length, task.end))
        rewards = jax.jit(lambda prompts, texts: jax.lax.map(lambda x: of_prompt(x, texts), prompts))(prompts, texts)
    else:
        tokens = jnp.maximum(jnp.asarray(task.rewarded), 0)
        listed = jax.jit(lambda pairs: jax.lax.map(lambda pair: of_prompt(*pair), pairs))((prompts, tokens))
        rewards = jnp.pad(jnp.where(rewarded_mask(task), listed, 0.0), ((0, 0), (0, 1)))
    exact = np.asarray(rewards, np.float64)
    exact.setflags(write=False)
    return exact


def rewarded_mask(task: LMTask) -> np.ndarray:
    """[N, K]: where `rewarded` holds a completion, and no padding."""
    assert task.rewarded is not None
    return task.rewarded[:, :, 0] >= 0


def law_of(model: LanguageModel, task: LMTask, weights: Weights) -> Array:
    """[N, C]: log pi(y | x) of every completion (float32; for `jit` and `vmap`). One pass over all prefixes."""
    size, length = task.size, task.length
    prefixes = np.stack(np.unravel_index(np.arange(size ** (length - 1)), (size,) * (length - 1)), -1)
    whole = completions(size, length, task.end)
    number = whole @ size ** np.arange(length - 1, -1, -1)

    def of_texts(tokens: Array) -> Array:
        """[B, V]: log pi of prefixes [B, P + L - 1] with each last token."""
        logs = jax.nn.log_softmax(model.apply(weights, tokens)[:, task.prompts.shape[1] - 1 :])
        said = tokens[:, task.prompts.shape[1] :]
        before = jnp.take_along_axis(logs[:, :-1], said[..., None], -1)[..., 0]
        if task.end is None:
            return before.sum(1)[:, None] + logs[:, -1]
        mask = drawn_mask(said, task.end)
        ended = jnp.any(said == task.end, 1)
        certain = jnp.where(jnp.arange(size) == task.end, 0.0, -jnp.inf)
        return jnp.where(mask, before, 0.0).sum(1)[:, None] + jnp.where(ended[:, None], certain, logs[:, -1])

    def of_prompt(prompt: Array) -> Array:
        tokens = jnp.concatenate(
            [jnp.broadcast_to(prompt, (len(prefixes), prompt.shape[0])), jnp.asarray(prefixes, jnp.int32)], 1
        )
        logs = jax.lax.map(lambda text: of_texts(text[None])[0], tokens, batch_size=CHUNK)
        return logs.reshape(-1)[number]

    return jax.lax.map(of_prompt, jnp.asarray(task.prompts, jnp.int32))


def rewarded_law(model: LanguageModel, task: LMTask, weights: Weights) -> Array:
    """[N, K + 1]: log pi of every completion with a reward, and last of all the others together."""
    assert task.rewarded is not None
    here = jnp.asarray(rewarded_mask(task))
    tokens = jnp.maximum(jnp.asarray(task.rewarded), 0)

    def of_prompt(prompt: Array, tokens: Array) -> Array:
        prompts = jnp.broadcast_to(prompt, (len(tokens), prompt.shape[0]))
        return jnp.sum(
            jnp.where(drawn_mask(tokens, task.end), token_log_probs(model, weights, prompts, tokens), 0.0), 1
        )

    listed = jax.lax.map(lambda pair: of_prompt(*pair), (jnp.asarray(task.prompts, jnp.int32), tokens))
    listed = jnp.where(here, listed, -jnp.inf)
    rest = jnp.log1p(-jnp.minimum(jnp.exp(listed).sum(1), 1 - 1e-7))
    return jnp.concatenate([listed, rest[:, None]], 1)


def normalised(law: Array) -> Law:
    """A law that was computed in float32, summing to 1 in float64."""
    exact = np.asarray(law, np.float64)
    return exact - logsumexp(exact, axis=-1, keepdims=True)


def expected(law: Law, values: np.ndarray) -> float:
    """E[values] under a law; both [N, C]."""
    return float((np.exp(law) * values).sum(1).mean())


def divergence(law: Law, reference: Law) -> float:
    """KL(law || reference) in nats, mean over prompts."""
    share = np.exp(law)
    with np.errstate(invalid="ignore"):
        inside = np.where(share > 0, share * (law - reference), 0.0)
    return float(inside.sum(1).mean())


def log_partition(reference: Law, reward: np.ndarray, beta: float) -> np.ndarray:
    """log Z(x) [N], `Z = E_pi0[exp(r / beta)]`."""
    return logsumexp(reference + reward / beta, axis=1)


def optimum(reference: Law, reward: np.ndarray, beta: float) -> Law:
    """log pi* [N, C], of `pi* = pi_0 exp(r / beta) / Z`."""
    tilted = reference + reward / beta
    return tilted - logsumexp(tilted, axis=1, keepdims=True)


def objective(law: Law, reference: Law, reward: np.ndarray, beta: float) -> float:
    """J = E[r] - beta KL, what every KL-regularised method maximises. At `optimum` it is beta E[log Z]."""
    return expected(law, reward) - beta * divergence(law, reference)


def limit(reference: Law, reward: np.ndarray) -> tuple[float, float]:
    """KL in nats and E[r], means over prompts, of the optimum as beta falls to 0: pi_0 among the best completions."""
    finite = np.where(np.isfinite(reference), reward, -np.inf)
    best = finite.max(1)
    at_best = finite == best[:, None]
    return float(-logsumexp(np.where(at_best, reference, -np.inf), axis=1).mean()), float(best.mean())


HALVINGS = 60
"""Of an interval of 26: what is left of it is below the rounding of its middle."""


def frontier(reference: Law, reward: np.ndarray, spent: float) -> float:
    """The largest E[r] of any policy whose KL to the reference, mean over prompts, is at most `spent` nats.

    One beta for all prompts: KL moves to the prompt where it earns most. Solved by bisection on log beta.
    """
    most, best = limit(reference, reward)
    if spent >= most:
        return best
    scale = max(float(np.ptp(reward[np.isfinite(reference)])), 1e-12)
    low, high = np.log(scale) - 12.0, np.log(scale) + 14.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        law = optimum(reference, reward, np.exp(middle))
        low, high = (middle, high) if divergence(law, reference) > spent else (low, middle)
    return expected(optimum(reference, reward, np.exp(high)), reward)


def best_of(reference: Law, reward: np.ndarray, draws: int) -> Law:
    """log-law [N, C] of the best of `draws` completions by this reward, ties broken at random.

    `P(y) = pi_0(y) / pi_0(r = r(y)) (P_0(r <= r(y))^n - P_0(r < r(y))^n)`. Its KL is below `log n - (n - 1) / n`
    (Beirami et al., 2024), which is what the literature plots in its place.
    """
    out = np.full_like(reference, -np.inf)
    for index, (logs, rewards) in enumerate(zip(reference, reward, strict=True)):
        levels, level = np.unique(rewards, return_inverse=True)
        mass = np.bincount(level, np.exp(logs), len(levels))
        up_to = np.minimum(np.cumsum(mass) / mass.sum(), 1.0)
        up_to[-1] = 1.0
        chance = np.diff(np.concatenate([[0.0], up_to**draws]))
        with np.errstate(divide="ignore"):
            ratio = np.where(mass > 0, np.log(chance) - np.log(np.where(mass > 0, mass, 1.0)), -np.inf)
        out[index] = logs + ratio[level]
    return out


def soft_values(reference: np.ndarray, reward: np.ndarray, beta: float, size: int) -> list[np.ndarray]:
    """The token-level values of one prompt: `V(y_<t) = beta log E_pi0[exp(r / beta) | y_<t]`, t = 0 ... L.

    Args: reference, reward: [V ** L], of all completions of L tokens in the order of `completions`.
    Returns: L + 1 arrays [V ** t]. The last is the reward, the first is beta log Z; at pi* their differences are
        `beta log pi*(y_t | ..) / pi_0(y_t | ..)`, so that they telescope to the sequence's (Rafailov et al., 2024).
    """
    length = round(np.log(len(reward)) / np.log(size))
    total, mass = reference + reward / beta, reference
    values = [reward]
    for _ in range(length):
        total, mass = logsumexp(total.reshape(-1, size), axis=1), logsumexp(mass.reshape(-1, size), axis=1)
        values.append(beta * (total - mass))
    return values[::-1]


@dataclass(frozen=True)
class Standing:
    """Where a policy stands. In units of gold reward and nats.

    reward: E[r]. kl: to the reference. regret: `frontier(kl) - reward`, 0 for what trades as well as can be.
    kl_standard_error, regret_standard_error: 0 where the KL is exact; see `frontier_rise` for the latter.
    """

    reward: float
    kl: float
    regret: float
    kl_standard_error: float = 0.0
    regret_standard_error: float = 0.0


def frontier_rise(reference: Law, reward: np.ndarray, spent: float, error: float) -> float:
    """By how much a regret may be too small where the KL may be too small by an error: `F(spent + error) - F(spent)`.

    The frontier F is concave, so that k errors make at most k times as much. Near no KL it rises like
    `sqrt(2 Var_pi0[r] KL)`, with no largest slope.
    """
    if error == 0:
        return 0.0
    return frontier(reference, reward, spent + error) - frontier(reference, reward, spent)


def standing(law: Law, reference: Law, reward: np.ndarray, kl: float | None = None, error: float = 0.0) -> Standing:
    """Of a law over the same outcomes as the reference's; `kl` where that of the outcomes is not that of the texts."""
    earned = expected(law, reward)
    spent = divergence(law, reference) if kl is None else kl
    regret = frontier(reference, reward, spent) - earned
    return Standing(earned, spent, regret, error, frontier_rise(reference, reward, spent, error))
