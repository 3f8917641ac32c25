"""The methods by name. A new method is a frozen dataclass and one line here."""

from __future__ import annotations

from dataclasses import dataclass

from seqrl_jax import naming, parts
from seqrl_jax.dialogue.advantages import Anchored, LearnedValue, ReturnToGo, Talking
from seqrl_jax.dialogue.archer import Archer
from seqrl_jax.dialogue.backups import Max, Own, Return, Sarsa, Soft
from seqrl_jax.dialogue.iterative_ppo import IterativePPO
from seqrl_jax.dialogue.method import Method
from seqrl_jax.dialogue.offline import Imitation, ReturnConditioned
from seqrl_jax.dialogue.online import PolicyGradient
from seqrl_jax.dialogue.preferences import Falling, Preferences
from seqrl_jax.dialogue.q_sft import QSFT
from seqrl_jax.dialogue.refuel import Refuel
from seqrl_jax.dialogue.saying import Actor, Beam, BestOf, Distilled, Greedy, Perturbed, Weighted
from seqrl_jax.dialogue.sweet import Sweet
from seqrl_jax.dialogue.values import Values


@dataclass(frozen=True)
class Entry:
    """A method with its shipped hyperparameters, one set for all games."""

    method: Method
    about: str


METHODS: dict[str, Entry] = {
    "bc": Entry(Imitation(), "says what was said in the logs"),
    "filtered_bc": Entry(Imitation(best=0.2), "says what was said in the fifth of the dialogues that earned most"),
    "decision_transformer": Entry(ReturnConditioned(), "says what was said where the return was as high as is wanted"),
    "mc_q": Entry(Values(towards=Return(), says=Greedy()), "Q of the logs from whole returns; the best symbol by it"),
    "sarsa": Entry(Values(towards=Sarsa(), says=Greedy()), "Q of the logs from one turn to the next; the best by it"),
    "offline_q": Entry(Values(towards=Max(), says=Greedy()), "Q-learning on logs, nothing holds it to them"),
    "cql": Entry(
        Values(towards=Max(), says=Greedy(), conservatism=0.02), "Q-learning that distrusts what was not said"
    ),
    "iql": Entry(Values(says=Weighted()), "implicit Q-learning: expectiles, and imitation weighted by advantages"),
    "ilql": Entry(Values(conservatism=0.02), "implicit language Q-learning: what the logs say, shifted by Q - V"),
    "kl_control": Entry(Values(towards=Soft(), says=Perturbed()), "soft Q near the logs: psi-learning"),
    "awac": Entry(Values(towards=Own(), says=Weighted()), "Q of its own policy, which imitates weighted by advantages"),
    "actor_critic": Entry(
        Values(towards=Own(), says=Actor(), conservatism=0.02), "Q of its own policy, which maximises it, pushed down"
    ),
    "chai": Entry(
        Values(towards=Own(), says=BestOf(), conservatism=0.02), "Q of the best of some candidates, which it also says"
    ),
    "best_of_q": Entry(Values(towards=Sarsa(), says=BestOf()), "the best of some candidates by Q of the logs"),
    "beam_q": Entry(Values(towards=Sarsa(), says=Beam()), "the best whole utterance by Q of the logs, found by a beam"),
    "digi_q": Entry(Values(towards=Sarsa(), says=Distilled()), "a policy that imitates the best of some candidates"),
    "q_sft": Entry(QSFT(), "values as probabilities, learned as cross-entropy"),
    "multi_turn_dpo": Entry(Preferences(), "preferences between whole dialogues; luck counts as merit"),
    "dmpo": Entry(Preferences(weights=Falling()), "the same, later turns counting less"),
    "sweet": Entry(Sweet(), "preferences between utterances, by a critic that sees the user's state where it learns"),
    "refuel": Entry(Refuel(), "by talking: two continuations of one dialogue, regressed to what they earn apart"),
    "pg_return": Entry(PolicyGradient(advantage=ReturnToGo(), epochs=1), "REINFORCE by talking: normalised returns"),
    "pg_group": Entry(PolicyGradient(), "by talking in groups that open alike, each less the others at the same turn"),
    "pg_talking": Entry(
        PolicyGradient(advantage=Talking()), "the same, less those that still talk: wrong where lengths vary"
    ),
    "gigpo": Entry(PolicyGradient(advantage=Anchored()), "groups of whole dialogues, and within them of equal pasts"),
    "ppo_talk": Entry(PolicyGradient(advantage=LearnedValue(), epochs=4), "PPO by talking, GAE over its own symbols"),
    "ppo_turns": Entry(
        PolicyGradient(advantage=LearnedValue(unit="turn"), epochs=4), "PPO by talking, GAE from turn to turn"
    ),
    "archer": Entry(
        Archer(), "by talking: a critic of utterances from earlier dialogues, which an actor of symbols follows"
    ),
    "iterative_ppo": Entry(
        IterativePPO(), "by talking in rounds: Q of who talked, then PPO of single turns whose reward it is"
    ),
    "offline_to_online": Entry(
        PolicyGradient(advantage=LearnedValue(), epochs=4, pretraining=500),
        "imitation of logs, then PPO by talking",
    ),
}


def make_method(spec: str) -> Method:
    """The method that `spec` names, `NAME` or `NAME:key=value,...`. Raises: SpecError with the nearest names."""
    name, settings = naming.parse(spec)
    return parts.configured(spec, naming.lookup("agent", name, METHODS).method, settings)


def method_settings(name: str) -> list[naming.Setting]:
    """What can be set of a method, as it ships. Raises: SpecError for an unknown name."""
    return parts.describe(naming.lookup("agent", name, METHODS).method)
