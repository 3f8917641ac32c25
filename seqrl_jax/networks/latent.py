"""A latent state-space model: a sequence VAE with Markovian dynamics, whose state is what an agent remembers.

    p(z_0) prod_t p(o_t | z_t) p(r_t, end_t | z_t, a_t) p(z_{t+1} | z_t, a_t),    q(z_t | o_0, a_0, ... o_t)

The posterior filters: a GRU reads what is seen and done, a linear layer turns its state into the law of z_t. Trained on

    sum_t E_q[log p(o_t | z_t) + log p(r_t, end_t | z_t, a_t)] - KL(q(z_t | ..) || p(z_t | z_{t-1}, a_{t-1}))

What is learned on top sees z alone, so that it is as good as the state that the model found. Because the posterior's
steps are independent given what was seen, the bound is tight where z is a function of the history: an information
state, whose dynamics p(z' | z, a) are those of the belief.

Sources: Kingma & Welling (2014); Krishnan, Shalit & Sontag (2017) for the bound over sequences; Hafner et al. (2019)
for the recurrent path, Hafner et al. (2021) for straight-through categorical states and the balanced divergence.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, NamedTuple

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from msgspec import Meta

from seqrl_jax.naming import require
from seqrl_jax.networks.base import DRAWS, Memory
from seqrl_jax.networks.distributions import Categorical, masked_categorical
from seqrl_jax.networks.encoders import action_code, code, code_size
from seqrl_jax.networks.experience import Experience
from seqrl_jax.networks.layers import DENSE_INIT, Codes, Dense, InputDense, output_init
from seqrl_jax.networks.module import Carry
from seqrl_jax.networks.recurrent import GRU
from seqrl_jax.settings import PositiveFloat, Share, Weight, Width
from seqrl_jax.tasks.environment import Discrete, Space

Classes = Annotated[int, Meta(ge=2, le=16_384)]
SMALLEST_DEVIATION = 0.01
QUIET, COLLAPSED = 1e-3, 1000
POSTERIOR_COLLAPSE = "posterior collapse, its latent state carried no information for 1,000 updates or more"


class World(NamedTuple):
    """What a model is of: the spaces of observations and of actions."""

    space: Space
    action_space: Space


class Latent(Memory):
    """What the state is and how it is learned. Carry: the filter's, (h [B, width],).

    Attributes:
        width: of the filter and of every hidden layer.
        kind: `categorical`, `groups` variables of `classes` values, or `gaussian`, `groups` numbers.
        use: what is read off the posterior: its `mean` (of a categorical state: the probabilities) or a `sample`.
        pass_gradient: whether the loss of what is learned on top reaches the model; if not, the bound alone trains it.
        smoothing: train the model on q(z_t | the whole episode), and the posterior that acts to follow it.
        recurrent_prior: let p(z_t | ..) also see the filter's state before o_t, a deterministic path beside z.
        balance: share of the divergence's gradient that moves the prior; the rest moves the posterior.
        free_bits: nats of divergence per step that cost nothing.
        reward_deviation: of p(r | z, a), in units of the largest reward.
        world: what is modelled; `for_environment` fills it in.
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
    world: World | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        classes = {field.name: field.default for field in dataclasses.fields(self)}["classes"]
        why = "a Gaussian state is numbers, without classes"
        require(self.kind == "categorical" or self.classes == classes, why, classes=self.classes, kind=self.kind)

    @property
    def has_model(self) -> bool:
        return True

    @property
    def draws(self) -> bool:
        return self.use == "sample"

    @property
    def code_size(self) -> int:
        """Numbers that stand for z."""
        return self.groups * (self.classes if self.kind == "categorical" else 1)

    @property
    def law_size(self) -> int:
        """Parameters of a law of z: logits, or means and raw deviations."""
        return self.groups * (self.classes if self.kind == "categorical" else 2)

    @nn.nowrap
    def for_environment(self, observation_space: Space, action_space: Space) -> Latent:
        return self.clone(world=World(observation_space, action_space))

    @nn.nowrap
    def initial_carry(self, batch: int) -> Carry:
        return GRU(self.width, parent=None).initial_carry(batch)

    def setup(self) -> None:
        assert self.world is not None, "a latent model is made for an environment: see `for_environment`"
        space, action_space = self.world
        dense = lambda size: Dense(size, kernel_init=DENSE_INIT)
        self.filter = GRU(self.width)
        self.posterior_law = dense(self.law_size)
        self.start = self.param("start", nn.initializers.zeros, (self.law_size,))
        self.dynamics = _Outcomes(action_space, self.width, self.law_size)
        self.outcomes = _Outcomes(action_space, self.width, 2)
        self.decoder = nn.Sequential([dense(self.width), nn.tanh, Dense(code_size(space), kernel_init=output_init)])
        self.readout = nn.Sequential([dense(2 * self.width), nn.tanh, dense(2 * self.width), nn.tanh])
        if self.smoothing:
            self.backward = GRU(self.width)
            self.smoother = nn.Sequential([dense(2 * self.width), nn.tanh, dense(self.law_size)])

    def unroll(self, carry: Carry, xs: Codes, firsts: Array) -> tuple[Carry, Array]:
        carry, hidden = self.filter(carry, xs, firsts)
        state = self._state_of(self.posterior_law(hidden), drawn=self.draws)
        return carry, self.readout(state if self.pass_gradient else jax.lax.stop_gradient(state))

    def posterior(self, carry: Carry, xs: Codes, firsts: Array) -> tuple[Carry, Array, Array]:
        """The carry after steps [T, B], the filter's states [T, B, width], and laws of q(z_t | ..) [T, B, law_size]."""
        carry, hidden = self.filter(carry, xs, firsts)
        return carry, hidden, self.posterior_law(hidden)

    def prior(self, state: Array, action: Array, hidden: Array) -> Array:
        """[..., law_size]: p(z_{t+1} | z_t, a_t), with the recurrent path if there is one."""
        return self.dynamics(jnp.concatenate([state, hidden], -1) if self.recurrent_prior else state, action)

    def outcome(self, state: Array, action: Array) -> tuple[Array, Array]:
        """Of p(r, end | z, a): the mean reward in units of the largest, and the logit of the end; both [...]."""
        out = self.outcomes(state, action)
        return out[..., 0], out[..., 1]

    def auxiliary_loss(
        self, carry: Carry, xs: Codes, experience: Experience, observation_mask: Array
    ) -> tuple[Array, dict[str, Array]]:
        """The negative bound and its terms, in nats per step.

        Where an episode began before the rollout, nothing is known of what its first step here came from, and that step
        has no divergence.
        """
        first = experience.inputs.first
        _, hidden, filtering = self.posterior(carry, xs, first)
        posterior = self._smoothed(hidden, xs, experience) if self.smoothing else filtering
        state = self._state_of(posterior, drawn=True)
        after = self.prior(state, experience.action, hidden)
        before = jnp.where(first[..., None], self.start, jnp.concatenate([after[:1], after[:-1]]))
        divergence = jnp.where(first.at[1:].set(True), self._balanced(posterior, before), 0.0)
        reward, end = self.outcome(state, experience.action)
        terms = {
            "divergence": divergence,
            "observation_loss": self._observation_loss(state, experience.inputs.obs, observation_mask),
            "reward_loss": 0.5 * jnp.square((experience.reward - reward) / self.reward_deviation),
            "end_loss": -distrax.Bernoulli(logits=end).log_prob(experience.terminated.astype(jnp.float32)),
        }
        if self.smoothing:
            terms["filter_loss"] = self._divergence(jax.lax.stop_gradient(posterior), filtering)
        charged = terms | {"divergence": jnp.maximum(divergence, self.free_bits)}
        return jnp.mean(sum(charged.values(), jnp.float32(0))), jax.tree.map(jnp.mean, terms)

    @nn.nowrap
    def initial_diagnostics(self) -> Array:
        """Updates in a row in which the posterior said nothing that the prior did not, so far none."""
        return jnp.int32(0)

    @nn.nowrap
    def diagnose(self, diagnostics: Array, terms: dict[str, Array]) -> Array:
        return jnp.where(terms["divergence"] < QUIET, diagnostics + 1, 0)

    @nn.nowrap
    def alarms(self, diagnostics: Array) -> dict[str, Array]:
        """`COLLAPSED` such updates are a posterior collapse (Bowman et al., 2016): nothing is remembered."""
        return {POSTERIOR_COLLAPSE: diagnostics >= COLLAPSED}

    def log_first(self, samples: int, observation_mask: Array) -> Array:
        """[O]: log P(o_0), as a mean over samples of z_0."""
        laws = jnp.broadcast_to(self.start, (samples, self.law_size))
        logs = masked_categorical(self.decoder(self._state_of(laws, drawn=True)), observation_mask).logits
        return nn.logsumexp(logs, 0) - jnp.log(jnp.float32(samples))

    def log_predictive(self, hidden: Array, action: Array, observation_mask: Array) -> Array:
        """[..., O + 1]: log P(o_{t+1}, the episode goes on), and last log P(it ends), for one sample of z."""
        state = self._state_of(self.posterior_law(hidden), drawn=True)
        _, end = self.outcome(state, action)
        following = self._state_of(self.prior(state, action, hidden), drawn=True)
        logs = masked_categorical(self.decoder(following), observation_mask).logits + nn.log_sigmoid(-end)[..., None]
        return jnp.concatenate([logs, nn.log_sigmoid(end)[..., None]], -1)

    @nn.nowrap
    def mean_state(self, law: Array) -> Array:
        """[..., code_size] of a law [..., law_size]: probabilities of a categorical state, means of a Gaussian one."""
        if self.kind == "gaussian":
            return self._gaussian(law).mean()
        return self._categorical(law).probs.reshape(law.shape)

    def _state_of(self, law: Array, drawn: bool) -> Array:
        """A draw that passes gradients on, or the mean where nothing is to be or can be drawn."""
        if not (drawn and self.has_rng(DRAWS)):
            return self.mean_state(law)
        key = self.make_rng(DRAWS)
        if self.kind == "gaussian":
            return self._gaussian(law).sample(seed=key)
        shares = self.mean_state(law)
        one_hot = jax.nn.one_hot(self._categorical(law).sample(seed=key), self.classes).reshape(law.shape)
        return one_hot + shares - jax.lax.stop_gradient(shares)

    @nn.nowrap
    def _categorical(self, law: Array) -> Categorical:
        return Categorical(logits=law.reshape(*law.shape[:-1], self.groups, self.classes))

    @nn.nowrap
    def _gaussian(self, law: Array) -> distrax.MultivariateNormalDiag:
        mean, raw = jnp.split(law, 2, -1)
        return distrax.MultivariateNormalDiag(mean, nn.softplus(raw) + SMALLEST_DEVIATION)

    @nn.nowrap
    def _divergence(self, posterior: Array, prior: Array) -> Array:
        """[...]: KL(posterior || prior) in nats, from laws [..., law_size]."""
        if self.kind == "gaussian":
            return self._gaussian(posterior).kl_divergence(self._gaussian(prior))
        return self._categorical(posterior).kl_divergence(self._categorical(prior)).sum(-1)

    @nn.nowrap
    def _balanced(self, posterior: Array, prior: Array) -> Array:
        """The divergence, its gradient shared between prior and posterior."""
        fixed, share = jax.lax.stop_gradient, self.balance
        moves_prior = self._divergence(fixed(posterior), prior)
        return share * moves_prior + (1 - share) * self._divergence(posterior, fixed(prior))

    def _smoothed(self, hidden: Array, xs: Codes, experience: Experience) -> Array:
        """[T, B, law_size]: q(z_t | all that the episode shows and pays within the rollout)."""
        assert self.world is not None
        action = action_code(experience.action, self.world.action_space)
        outcome = jnp.stack([experience.reward, experience.terminated.astype(jnp.float32)], -1)
        later = tuple(part * 3**-0.5 for part in (*xs, action, outcome * 2**-0.5))
        first = experience.inputs.first
        last = jnp.concatenate([first[1:], jnp.ones_like(first[:1])])
        _, behind = self.backward(self.initial_carry(last.shape[1]), tuple(part[::-1] for part in later), last[::-1])
        return self.smoother(jnp.concatenate([hidden, behind[::-1]], -1))

    def _observation_loss(self, state: Array, obs: Array, observation_mask: Array) -> Array:
        """-log p(o | z) in nats [...]: exact for discrete observations, a unit Gaussian without its constant else."""
        assert self.world is not None
        decoded = self.decoder(state)
        if isinstance(self.world.space, Discrete):
            return -masked_categorical(decoded, observation_mask).log_prob(obs)
        return 0.5 * jnp.sum(jnp.square(code(obs, self.world.space) - decoded), -1)


class _Outcomes(nn.Module):
    """What comes of an action in a state: one hidden layer over both, [..., C] and actions [...] -> [..., outputs]."""

    action_space: Space
    width: int
    outputs: int

    @nn.compact
    def __call__(self, state: Array, action: Array) -> Array:
        of_state = Dense(self.width, kernel_init=DENSE_INIT, name="state")(state)
        chosen = action_code(action, self.action_space)
        of_action = InputDense(self.width, use_bias=False, name="action")((chosen,))
        hidden = nn.tanh((of_state + of_action) * 2**-0.5)
        return Dense(self.outputs, kernel_init=DENSE_INIT, name="out")(hidden)
