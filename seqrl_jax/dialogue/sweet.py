"""Step-wise evaluation from what is known in training: a critic of turns that sees the user's state teaches a policy
that does not.

    critic  loss = -E[p log sigma(m) + (1 - p) log sigma(-m)],   m = sum_t A(s_t, h_t, u_t) - sum_t A(s'_t, h'_t, u'_t)
            A(s, h, u) = alpha / |u| log pi_A(u | s, h) / pi_ref(u | h),   p = sigma(R - R')
    policy  loss = -E[log sigma(beta (rho(u) - rho(u')))],   rho(u) = log pi(u | h) / pi_ref(u | h)

The critic compares two dialogues with the same opening and the same state at their beginning; returns are in
deviations, |u| is the number of an utterance's symbols. The policy is taught at a turn of each dialogue: of utterances
that the imitated logs, pi_ref, would say there, one of the better half by A is preferred to one of the worse.

What A ends at: a log-ratio holds sum_u pi_ref(u | h) exp(|u| A(s, h, u) / alpha) = 1, so that neither a constant nor
luck hides in it. Where the state tells all that is to come, A = Q - V with V the root of that equation is the only one
whose sums are the returns': the advantage of who sees the state and is held to the logs by alpha. At small alpha
nothing is worth asking, as the state is known. As alpha grows it tends to the advantage of the speakers of the logs
(where utterances are equally long; longer ones count more in V), whose mean over states is what it is without them.
What the policy ends at: each state votes, as often as it is likely, for the better half of its own ranking. By how much
an utterance is better does not count, so that the votes are not those of the mean of A.

Source: Zhou et al. (2025), eq. 2-4 and app. B. Theirs differs: the critic is trained first, here both learn at once;
labels are hard, by which differences grow without end where a critic can tell dialogues apart; the state is one text
for a whole dialogue; and pi_ref is a given model, here it is imitated beside.
"""

from __future__ import annotations

from typing import NamedTuple

import distrax
import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.agents.action_values import of_action
from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.dialogue.data import Batch, Data, batch_of
from seqrl_jax.dialogue.decisions import turn_lengths
from seqrl_jax.dialogue.offline import FromLogs, Terms, imitation
from seqrl_jax.dialogue.preferences import apart, preference_loss, shifted
from seqrl_jax.dialogue.reader import Outputs, predictions, read_on
from seqrl_jax.dialogue.views import Spelling
from seqrl_jax.naming import require
from seqrl_jax.networks.distributions import Categorical, masked
from seqrl_jax.networks.module import Carry, Weights
from seqrl_jax.settings import PositiveFloat, Several

UNSEEN = 0
"""The condition with which the policy and the imitated logs read; state s is read as s + 1."""


Carries = tuple[Carry, Carry]
"""Of who reads without states, and of who reads with them."""


class Candidates(NamedTuple):
    """C utterances at each of B histories, [B, C]. node: where they end in the tree. log_ratio: rho of the policy.
    advantage: A of the critic."""

    node: Array
    log_ratio: Array
    advantage: Array


class Said(NamedTuple):
    """Symbols [M] of candidates: rho and alpha log pi_A / pi_ref of each, and a 1; 0 behind the last."""

    log_ratio: Array
    judged: Array
    own: Array


@hyperparameters
class Sweet(FromLogs):
    """Attributes: alpha: of the critic, in deviations of returns. beta: of the policy. candidates: C, an even number.
    The others: see `FromLogs`."""

    alpha: PositiveFloat = 8.0
    beta: PositiveFloat = 0.2
    candidates: Several = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.candidates % 2 == 0, "half of the candidates are better", candidates=self.candidates)

    @property
    def sees_state(self) -> bool:
        return True

    def conditions(self, spelling: Spelling) -> int:
        return 1 + spelling.states

    @property
    def wanted(self) -> int:
        return UNSEEN

    def heads(self, symbols: int) -> tuple[tuple[str, int], ...]:
        return (("reference", symbols), ("shift", symbols), ("critic", symbols))

    def law(self, outputs: Outputs, legal: Array) -> distrax.Categorical:
        return shifted(outputs["reference"], outputs["shift"], legal)

    def terms(self, spelling: Spelling, data: Data, weights: Weights, target: Weights, key: Array) -> Terms:
        assert data.hidden is not None, "its data is made for who sees the state"
        pairs_key, turn_key, say_key = jax.random.split(key, 3)
        index = data.hidden.alike.pairs(pairs_key, self.batch // 2)
        symbol, batch = batch_of(data, spelling, index)
        state = 1 + jnp.take_along_axis(data.hidden.state[index].T, data.turn[index].T, 0)
        reader = self.reader(spelling)
        reference = predictions(reader, weights, symbol, jnp.full_like(state, UNSEEN)[1:])["reference"]
        critic = predictions(reader, weights, symbol, state[1:])["critic"]
        said = self.said(spelling, weights, symbol, state, begins(batch, turn_key), say_key)
        terms = {
            "critic_loss": self.critic_loss(reference, critic, batch, spelling.turns),
            "policy_loss": self.policy_loss(said),
            "cross_entropy": imitation(reference, batch, batch.own.astype(jnp.float32)),
        }
        return Terms(sum(terms.values(), jnp.float32(0)), terms)

    def critic_loss(self, reference: Array, critic: Array, batch: Batch, turns: int) -> Array:
        """Of pairs, the first half of a batch against the second. Args: reference, critic: [T, B, V]."""
        of_symbol = self.judged(reference, critic, batch.legal, batch.symbol)
        advantage = jnp.sum(jnp.where(batch.own, of_symbol / turn_lengths(batch.own, batch.turn, turns), 0.0), 0)
        return preference_loss(apart(advantage), apart(batch.earned))

    def judged(self, reference: Array, critic: Array, legal: Array, symbol: Array) -> Array:
        """[...]: alpha log pi_A / pi_ref of symbols, for a critic whose outputs are in units of A whatever alpha is."""
        return self.alpha * log_ratio(reference, critic / self.alpha, legal, symbol)

    def policy_loss(self, said: Candidates) -> Array:
        """Of every better candidate against every worse one."""
        order = jnp.argsort(-said.advantage, -1)
        better, worse = jnp.split(jnp.take_along_axis(said.log_ratio, order, -1), 2, -1)
        return -jnp.mean(jax.nn.log_sigmoid(self.beta * (better[..., :, None] - worse[..., None, :])))

    def said(
        self, spelling: Spelling, weights: Weights, symbol: Array, state: Array, begin: Array, key: Array
    ) -> Candidates:
        """What the imitated logs would say behind the beginnings of dialogues, without gradient for the critic.

        Args: symbol: [T, B]. state: [T, B], as it is read. begin: [B], how many symbols were said before.
        """
        reader, fixed = self.reader(spelling), jax.lax.stop_gradient(weights)
        child, legal = jnp.asarray(spelling.child), jnp.asarray(spelling.legal)
        finished = jnp.asarray(spelling.utterance) >= 0

        def read(carries: Carries, symbol: Array, first: Array, state: Array) -> tuple[Carries, Outputs]:
            """On, without states and with them. Args: symbol, first, state: [T, M]."""
            blind, outputs = read_on(reader, weights, carries[0], symbol, first, jnp.full_like(state, UNSEEN))
            seeing, judged = read_on(reader, fixed, carries[1], symbol, first, state)
            return (blind, seeing), outputs | {"critic": judged["critic"]}

        def say(node: Array, outputs: Outputs, key: Array) -> tuple[Array, Array, Said]:
            """A symbol [M] more: the nodes behind, the symbols, and what is thought of them."""
            own, may = ~finished[node], legal[node]
            reference, shift, critic = (outputs[name] for name in ("reference", "shift", "critic"))
            symbol = Categorical(reference, may).sample(seed=key)
            made = Said(
                log_ratio=log_ratio(reference, shift, may, symbol),
                judged=self.judged(reference, critic, may, symbol),
                own=jnp.ones(len(symbol)),
            )
            made = jax.tree.map(lambda leaf: jnp.where(own, leaf, 0.0), made)
            return jnp.where(own, child[node, symbol], node), symbol, made

        # The beginnings all end at the last place.
        place = jnp.arange(len(symbol))[:, None] - (len(symbol) - begin)
        past = lambda array: jnp.take_along_axis(array, jnp.maximum(place, 0), 0)
        empty = reader.memory.initial_carry(len(begin))
        behind = read((empty, empty), past(symbol), place == 0, past(state))
        carries, outputs, here = jax.tree.map(
            lambda leaf: jnp.repeat(leaf, self.candidates, 0), (*behind, past(state)[-1])
        )

        def step(at: tuple[Carries, Array, Array], key: Array) -> tuple[tuple[Carries, Array, Array], Said]:
            carries, node, symbol = at
            carries, outputs = read(carries, symbol[None], jnp.zeros((1, len(symbol)), bool), here[None])
            node, symbol, made = say(node, outputs, key)
            return (carries, node, symbol), made

        keys = jax.random.split(key, spelling.said.shape[1])
        node, symbol, first = say(jnp.zeros(len(here), jnp.int32), outputs, keys[0])
        (_, node, _), later = jax.lax.scan(step, (carries, node, symbol), keys[1:])
        total = jax.tree.map(lambda one, others: one + others.sum(0), first, later)
        by_history = lambda leaf: leaf.reshape(len(begin), self.candidates)
        return Candidates(*map(by_history, (node, total.log_ratio, total.judged / total.own)))


def log_ratio(reference: Array, shift: Array, legal: Array, symbol: Array) -> Array:
    """[...]: of symbols, log pi / pi_ref where log pi is log pi_ref + shift [..., V] and a constant."""
    prior = jax.nn.log_softmax(masked(jax.lax.stop_gradient(reference), legal), -1)
    return of_action(shift, symbol) - jax.nn.logsumexp(prior + shift, -1)


def begins(batch: Batch, key: Array) -> Array:
    """[B]: how many symbols come before a turn that is drawn in each dialogue."""
    turns = jnp.max(jnp.where(batch.own, batch.turn, 0), 0) + 1
    turn = jnp.floor(jax.random.uniform(key, turns.shape) * turns.astype(jnp.float32)).astype(jnp.int32)
    return 1 + jnp.argmax(batch.own & (batch.turn == turn), 0)
