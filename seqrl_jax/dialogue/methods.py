"""The methods by name. A new method is a frozen dataclass and one line here."""

from __future__ import annotations

from dataclasses import dataclass

from seqrl_jax import naming, parts
from seqrl_jax.dialogue.method import Method
from seqrl_jax.dialogue.offline import Greedy, Imitation, Max, Return, ReturnConditioned, Sarsa, Values, Weighted
from seqrl_jax.dialogue.online import LearnedValue, Online, ReturnToGo, Talking
from seqrl_jax.dialogue.preferences import Falling, Preferences


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
    "cql": Entry(Values(towards=Max(), says=Greedy(), conservatism=0.1), "Q-learning that distrusts what was not said"),
    "iql": Entry(Values(says=Weighted()), "implicit Q-learning: expectiles, and imitation weighted by advantages"),
    "ilql": Entry(Values(conservatism=0.1), "implicit language Q-learning: what the logs say, shifted by Q - V"),
    "multi_turn_dpo": Entry(Preferences(), "preferences between whole dialogues; luck counts as merit"),
    "dmpo": Entry(Preferences(weights=Falling()), "the same, later turns counting less"),
    "pg_return": Entry(Online(advantage=ReturnToGo(), epochs=1), "REINFORCE by talking: returns to go, normalised"),
    "pg_group": Entry(Online(), "by talking in groups that open alike, each less the others at the same turn"),
    "pg_talking": Entry(Online(advantage=Talking()), "the same, less those that still talk: wrong where lengths vary"),
    "ppo_talk": Entry(Online(advantage=LearnedValue(), epochs=4), "PPO by talking, GAE over the agent's own symbols"),
}


def make_method(spec: str) -> Method:
    """The method that `spec` names, `NAME` or `NAME:key=value,...`. Raises: SpecError with the nearest names."""
    name, settings = naming.parse(spec)
    return parts.configured(spec, naming.lookup("agent", name, METHODS).method, settings)


def method_settings(name: str) -> list[naming.Setting]:
    """What can be set of a method, as it ships. Raises: SpecError for an unknown name."""
    return parts.describe(naming.lookup("agent", name, METHODS).method)
