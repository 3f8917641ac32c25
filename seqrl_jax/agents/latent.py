"""A latent state-space model: a sequence VAE with Markovian dynamics, and functions of its state.

    p(z_0) prod_t p(o_t | z_t) p(r_t, end_t | z_t, a_t) p(z_{t+1} | z_t, a_t),    q(z_t | o_0 ... o_t, a_0 ... a_{t-1})

The posterior filters: a GRU reads what is seen and done, a linear layer turns its state into the law of z_t. Trained on

    sum_t E_q[log p(o_t | z_t) + log p(r_t, end_t | z_t, a_t)] - KL(q(z_t | ..) || p(z_t | z_{t-1}, a_{t-1}))

Whatever is learned on top sees z alone, so that control is as good as the state that the model found. Because the
posterior's steps are independent given what was seen, the bound is tight where z is a function of the history: an
information state, whose dynamics p(z' | z, a) are those of the belief.

Sources: Kingma & Welling (2014); Krishnan, Shalit & Sontag (2017) for the bound over sequences; Hafner et al. (2019)
for the recurrent path, Hafner et al. (2021) for straight-through categorical states and the balanced divergence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from msgspec import Meta

from seqrl_jax.agents.history import HistoryFunction
from seqrl_jax.agents.networks import blocks, features, layers, masked, of_action, through
from seqrl_jax.agents.rollout import Experience, StepInput
from seqrl_jax.memory import GRU, Block, dense
from seqrl_jax.memory.base import total
from seqrl_jax.naming import check
from seqrl_jax.settings import PositiveFloat, Share, Weight, Width
from seqrl_jax.tasks.environment import Discrete

Classes = Annotated[int, Meta(ge=2, le=16_384)]
SMALLEST_DEVIATION = 0.01


@dataclass(frozen=True)
class Latent:
    """What the state is and how it is learned. It stands where other agents have a memory.

    Attributes:
        width: of the filter and of every hidden layer.
        kind: `categorical`, `groups` variables of `classes` values, or `gaussian`, `groups` numbers.
        use: what control sees of the posterior: its `mean` (of a categorical state: the probabilities) or a `sample`.
        pass_gradient: whether control's loss reaches the model; otherwise the bound alone trains it.
        smoothing: train the model on q(z_t | the whole episode), and the posterior that acts to follow it.
        recurrent_prior: let p(z_t | ..) also see the filter's state before o_t, a deterministic path beside z.
        balance: share of the divergence's gradient that moves the prior; the rest moves the posterior.
        free_bits: nats of divergence per step that cost nothing.
        reward_deviation: of p(r | z, a), in units of the largest reward.
    """

    width: Width = 32
    kind: Literal["categorical", "gaussian"] = "categorical"
    groups: Width = 16
    classes: Classes = 8
    use: Literal["mean", "sample"] = "mean"
    pass_gradient: bool = False
    smoothing: bool = False
    recurrent_prior: bool = False
    balance: Share = 0.8
    free_bits: Weight = 0.0
    reward_deviation: PositiveFloat = 0.1

    def __post_init__(self) -> None:
        check(self)

    @property
    def reach(self) -> None:
        """The posterior is a function of all that was seen."""
        return None

    @property
    def code_size(self) -> int:
        """Numbers that stand for z."""
        return self.groups * (self.classes if self.kind == "categorical" else 1)

    @property
    def law_size(self) -> int:
        """Parameters of a law of z: logits, or means and raw deviations."""
        return self.groups * (self.classes if self.kind == "categorical" else 2)

    def for_horizon(self, horizon: int) -> Latent:
        return self

    def code(self, law: Array, key: Array | None) -> Array:
        """[..., code_size] of a law [..., law_size]: a sample that passes gradients on, or the mean without a key."""
        if self.kind == "gaussian":
            mean, deviation = _gaussian(law)
            return mean if key is None else mean + deviation * jax.random.normal(key, mean.shape)
        logits = law.reshape(*law.shape[:-1], self.groups, self.classes)
        share = jax.nn.softmax(logits)
        if key is None:
            return share.reshape(law.shape)
        drawn = jax.nn.one_hot(jax.random.categorical(key, logits), self.classes)
        return (drawn + share - jax.lax.stop_gradient(share)).reshape(law.shape)

    def divergence(self, posterior: Array, prior: Array) -> Array:
        """[...]: KL(posterior || prior) in nats, from laws [..., law_size]."""
        if self.kind == "gaussian":
            (mean, deviation), (centre, spread) = _gaussian(posterior), _gaussian(prior)
            square = jnp.square(deviation / spread) + jnp.square((mean - centre) / spread)
            return jnp.sum(0.5 * (square - 1) - jnp.log(deviation / spread), -1)
        apart = lambda law: jax.nn.log_softmax(law.reshape(*law.shape[:-1], self.groups, self.classes))
        log_q, log_p = apart(posterior), apart(prior)
        return jnp.sum(jnp.exp(log_q) * (log_q - log_p), (-2, -1))

    def balanced(self, posterior: Array, prior: Array) -> Array:
        """The divergence, its gradient shared between prior and posterior."""
        fixed = jax.lax.stop_gradient
        return self.balance * self.divergence(fixed(posterior), prior) + (1 - self.balance) * self.divergence(
            posterior, fixed(prior)
        )


def count_collapsed(before: Array, terms: dict[str, Array]) -> Array:
    """Updates in a row in which the posterior told nothing that the prior did not say; always 0 without a model.

    `COLLAPSED` of them are a posterior collapse (Bowman et al., 2016): z carries nothing, and control sees nothing.
    """
    if "divergence" not in terms:
        return before
    return jnp.where(terms["divergence"] < QUIET, before + 1, 0)


QUIET, COLLAPSED = 1e-3, 1000
POSTERIOR_COLLAPSE = "posterior collapse, its latent state told nothing for 1,000 updates or more"


@dataclass(frozen=True)
class LatentFunction(HistoryFunction):
    """Outputs that are a function of z_t. Attribute: num_actions."""

    memory: Latent  # type: ignore[assignment]
    num_actions: int = 0

    def init(self, key: Array) -> Any:
        m, seen = self.memory, blocks(self.space)
        keys = jax.random.split(key, 8)
        done = Block(self.num_actions, 1)
        known = dense(m.width) if m.recurrent_prior else ()
        smoother = {}
        if m.smoothing:
            smoother = {
                "backward": self._filter.init(keys[6], (*seen, done, *dense(2))),
                "smoother": layers(keys[7], dense(2 * m.width), m.law_size),
            }
        return smoother | {
            "filter": self._filter.init(keys[0], (*seen, done)),
            "posterior": layers(keys[1], dense(m.width), m.law_size),
            "start": jnp.zeros(m.law_size),
            "prior": layers(keys[2], (*dense(m.code_size), done, *known), m.width, m.law_size),
            "decoder": layers(keys[3], dense(m.code_size), m.width, total(seen)),
            "outcome": layers(keys[4], (*dense(m.code_size), done), m.width, 2),
            "readout": layers(keys[5], dense(m.code_size), 2 * m.width, 2 * m.width),
            "head": {"kernel": jnp.zeros((2 * m.width, self.outputs)), "bias": jnp.zeros(self.outputs)},
        }

    def initialise(self, weights: Any, batch: int) -> Any:
        return self._filter.initialise(weights["filter"], batch)

    def step(self, weights: Any, carry: Any, seen: StepInput, key: Array | None = None) -> tuple[Any, Array]:
        carry, hidden = self._filter.step(weights["filter"], carry, self._inputs(seen), seen.first)
        return carry, self._outputs(weights, hidden, key)

    def unroll(self, weights: Any, carry: Any, seen: StepInput, key: Array | None = None) -> Array:
        return self._outputs(weights, self.filtered(weights, carry, seen), key)

    def carry_after(self, weights: Any, carry: Any, seen: StepInput) -> Any:
        return self._filter.unroll(weights["filter"], carry, self._inputs(seen), seen.first)[0]

    def law_after(self, weights: Any, carry: Any, seen: StepInput) -> tuple[Any, Array]:
        """One step of B episodes: the carry, and q(z_t | ..) [B, law_size]."""
        carry, hidden = self._filter.step(weights["filter"], carry, self._inputs(seen), seen.first)
        return carry, self.posterior(weights, hidden)

    def filtered(self, weights: Any, carry: Any, seen: StepInput) -> Array:
        """[T, B, H]: the filter's state at every step."""
        return self._filter.unroll(weights["filter"], carry, self._inputs(seen), seen.first)[1]

    def posterior(self, weights: Any, hidden: Array) -> Array:
        """[..., law_size]: q(z_t | ..) from the filter's state."""
        return through(weights["posterior"], hidden)

    def smoothed(self, weights: Any, hidden: Array, seen: Experience) -> Array:
        """[T, B, law_size]: q(z_t | all that the episode shows and pays within the rollout)."""
        done = jax.nn.one_hot(seen.action, self.num_actions)
        outcome = jnp.stack([seen.reward, seen.terminated.astype(jnp.float32)], -1)
        later = jnp.concatenate([features(seen.seen.obs, self.space), done, outcome], -1)
        last = jnp.concatenate([seen.seen.first[1:], jnp.ones_like(seen.seen.first[:1])])
        start = self._filter.initialise(weights["backward"], last.shape[1])
        _, behind = self._filter.unroll(weights["backward"], start, later[::-1], last[::-1])
        return through(weights["smoother"], jnp.concatenate([hidden, behind[::-1]], -1))

    def prior(self, weights: Any, code: Array, action: Array, hidden: Array) -> Array:
        """[..., law_size]: p(z_{t+1} | z_t, a_t), with the recurrent path if there is one."""
        parts = [code, jax.nn.one_hot(action, self.num_actions)]
        return through(weights["prior"], jnp.concatenate([*parts, *([hidden] * self.memory.recurrent_prior)], -1))

    def decoded(self, weights: Any, code: Array) -> Array:
        """[..., F]: of p(o | z), logits of a discrete observation, the mean of others."""
        return through(weights["decoder"], code)

    def outcome(self, weights: Any, code: Array, action: Array) -> tuple[Array, Array]:
        """Of p(r, end | z, a): the mean reward in units of the largest, and the logit of the end; both [...]."""
        out = through(weights["outcome"], jnp.concatenate([code, jax.nn.one_hot(action, self.num_actions)], -1))
        return out[..., 0], out[..., 1]

    def model_loss(
        self, weights: Any, carry: Any, seen: Experience, observation_mask: Array, key: Array
    ) -> tuple[Array, dict[str, Array]]:
        """The negative bound and its terms, in nats per step.

        Where an episode began before the rollout, nothing is known of what its first step here came from, and that step
        has no divergence.
        """
        m, first = self.memory, seen.seen.first
        hidden = self.filtered(weights, carry, seen.seen)
        filtering = self.posterior(weights, hidden)
        posterior = self.smoothed(weights, hidden, seen) if m.smoothing else filtering
        code = m.code(posterior, key)
        after = self.prior(weights, code, seen.action, hidden)
        before = jnp.where(first[..., None], weights["start"], jnp.concatenate([after[:1], after[:-1]]))
        known = first.at[1:].set(True)
        divergence = jnp.where(known, m.balanced(posterior, before), 0.0)
        mean, end = self.outcome(weights, code, seen.action)
        terms = {
            "divergence": divergence,
            "observation_loss": self._observation_loss(self.decoded(weights, code), seen.seen.obs, observation_mask),
            "reward_loss": 0.5 * jnp.square((seen.reward - mean) / m.reward_deviation),
            "end_loss": jax.nn.softplus(jnp.where(seen.terminated, -end, end)),
        }
        if m.smoothing:
            terms["filter_loss"] = m.divergence(jax.lax.stop_gradient(posterior), filtering)
        charged = terms | {"divergence": jnp.maximum(divergence, m.free_bits)}
        return jnp.mean(sum(charged.values(), jnp.float32(0))), jax.tree.map(jnp.mean, terms)

    def log_first(self, weights: Any, key: Array, samples: int) -> Array:
        """[O]: log P(o_0), as a mean over samples of z_0."""
        laws = jnp.broadcast_to(weights["start"], (samples, self.memory.law_size))
        logs = jax.nn.log_softmax(self.decoded(weights, self.memory.code(laws, key)))
        return jax.nn.logsumexp(logs, 0) - jnp.log(jnp.float32(samples))

    def log_predictive(self, weights: Any, hidden: Array, action: Array, key: Array, samples: int) -> Array:
        """[..., O + 1]: log P(o_{t+1}, the episode goes on), and last log P(it ends), as a mean over samples of z."""

        def one(key: Array) -> Array:
            here, there = jax.random.split(key)
            code = self.memory.code(self.posterior(weights, hidden), here)
            _, end = self.outcome(weights, code, action)
            following = self.memory.code(self.prior(weights, code, action, hidden), there)
            logs = jax.nn.log_softmax(self.decoded(weights, following)) + jax.nn.log_sigmoid(-end)[..., None]
            return jnp.concatenate([logs, jax.nn.log_sigmoid(end)[..., None]], -1)

        logs = jax.lax.map(one, jax.random.split(key, samples))
        return jax.nn.logsumexp(logs, 0) - jnp.log(jnp.float32(samples))

    @property
    def _filter(self) -> GRU:
        return GRU(self.memory.width)

    def _inputs(self, seen: StepInput) -> Array:
        done = jnp.where(seen.first[..., None], 0.0, jax.nn.one_hot(seen.previous, self.num_actions))
        return jnp.concatenate([features(seen.obs, self.space), done], -1)

    def _outputs(self, weights: Any, hidden: Array, key: Array | None) -> Array:
        m = self.memory
        code = m.code(self.posterior(weights, hidden), key if m.use == "sample" else None)
        if not m.pass_gradient:
            code = jax.lax.stop_gradient(code)
        return self._head(weights["head"], jnp.tanh(through(weights["readout"], code)))

    def _observation_loss(self, decoded: Array, obs: Array, observation_mask: Array) -> Array:
        """-log p(o | z) in nats [...]: exact for discrete observations, a unit Gaussian without its constant else."""
        if isinstance(self.space, Discrete):
            return -of_action(jax.nn.log_softmax(masked(decoded, observation_mask)), obs)
        return 0.5 * jnp.sum(jnp.square(features(obs, self.space) - decoded), -1)


def _gaussian(law: Array) -> tuple[Array, Array]:
    mean, raw = jnp.split(law, 2, -1)
    return mean, jax.nn.softplus(raw) + SMALLEST_DEVIATION
