"""The methods by name. A new method is a frozen dataclass and one line here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from jax import Array

from seqrl_jax import naming
from seqrl_jax.lm.base import LanguageModel
from seqrl_jax.lm.gpt import GPT
from seqrl_jax.lm.policy_gradient import PolicyGradient
from seqrl_jax.lm.preference import Preference
from seqrl_jax.lm.rlhf import RLHF
from seqrl_jax.lm.rnn import RNN
from seqrl_jax.lm.tasks import LMTask


class Method(Protocol):
    """Frozen hyperparameters, and a pure function from pi_0 to a policy."""

    def align(self, key: Array, model: LanguageModel, task: LMTask, reference: Any) -> Any:
        """Weights of the policy, from those of pi_0."""
        ...


@dataclass(frozen=True)
class Reference:
    """pi_0 itself."""

    def align(self, key: Array, model: LanguageModel, task: LMTask, reference: Any) -> Any:
        return reference


@dataclass(frozen=True)
class BestOf:
    """The best of `draws` answers of pi_0 by the gold reward. No policy is trained: its law is computed exactly."""

    draws: int = 16


@dataclass(frozen=True)
class Climb:
    """A policy gradient on the gold reward itself."""

    policy: PolicyGradient

    def price(self, task: LMTask) -> float | None:
        """The beta at which this method's optimum is pi* of the gold reward; None where its optimum is another."""
        biased = self.policy.divergence == "loss" or self.policy.advantage == "group" or self.policy.by_length
        return None if biased else self.policy.beta

    def align(self, key: Array, model: LanguageModel, task: LMTask, reference: Any) -> Any:
        return self.policy.train(key, model, task, reference, task.rewards)[0]


@dataclass(frozen=True)
class Compare:
    """Learning from comparisons without a reward model."""

    preference: Preference

    def price(self, task: LMTask) -> float | None:
        """As of `Climb`: DPO's optimum is pi* when the labels follow the gold reward; that of IPO and KTO never is."""
        faithful = self.preference.labeller.is_faithful(task)
        return self.preference.beta if self.preference.loss == "dpo" and faithful else None

    def align(self, key: Array, model: LanguageModel, task: LMTask, reference: Any) -> Any:
        return self.preference.train(key, model, task, reference)[0]


@dataclass(frozen=True)
class Feedback:
    """RLHF: labels, a reward model, and a policy that climbs it."""

    rlhf: RLHF

    def align(self, key: Array, model: LanguageModel, task: LMTask, reference: Any) -> Any:
        return self.rlhf.train(key, model, task, reference)[0]


@dataclass(frozen=True)
class Entry:
    """A method with its shipped hyperparameters, one set for all tasks.

    caveat: why it ends short of its own optimum, where it does.
    """

    method: Any
    about: str
    caveat: str = ""


SEVERAL_PASSES: dict[str, Any] = {"epochs": 4, "minibatches": 4, "learning_rate": 0.001, "updates": 600}
PPO = PolicyGradient(advantage="value", ratio="token", clip=0.2, **SEVERAL_PASSES)
RLOO = PolicyGradient(advantage="leave_one_out")
GRPO = PolicyGradient(advantage="group", ratio="token", clip=0.2, divergence="loss", by_length=True, **SEVERAL_PASSES)

FEW_ANSWERS = "without a baseline, the answers of an update are too few for its noise"
FEW_PAIRS = "the pairs, and those in an update, are too few for their noise"
FEW_LABELS = "the labels of an update are too few for their noise"

METHODS: dict[str, Entry] = {
    "sft": Entry(Reference(), "supervised training alone: the reference policy"),
    "best_of_16": Entry(BestOf(16), "the best of 16 answers by the gold reward, exactly"),
    "lm_reinforce": Entry(Climb(PolicyGradient(advantage="total")), "REINFORCE with the total reward", FEW_ANSWERS),
    "lm_reinforce_baseline": Entry(Climb(PolicyGradient()), "REINFORCE minus the batch's mean"),
    "lm_importance": Entry(
        Climb(PolicyGradient(ratio="completion", **SEVERAL_PASSES)),
        "importance-weighted REINFORCE, several passes over a batch",
    ),
    "lm_ppo": Entry(Climb(PPO), "PPO: clipped ratios of tokens, a value head, KL in the reward"),
    "rloo": Entry(Climb(RLOO), "REINFORCE minus the mean of the other answers to the prompt"),
    "grpo": Entry(Climb(GRPO), "GRPO: rewards normalised within the prompt, KL in the loss"),
    "dr_grpo": Entry(
        Climb(dataclasses.replace(GRPO, advantage="group_mean", by_length=False)),
        "GRPO without dividing by deviation and length",
    ),
    "dpo": Entry(Compare(Preference()), "direct preference optimisation on labelled pairs", FEW_PAIRS),
    "ipo": Entry(Compare(Preference(loss="ipo")), "identity preference optimisation"),
    "kto": Entry(Compare(Preference(loss="kto")), "answers judged one by one against a reference point"),
    "online_dpo": Entry(Compare(Preference(online=True)), "DPO on fresh answers of the policy itself", FEW_LABELS),
    "rlhf": Entry(Feedback(RLHF(policy=RLOO)), "labels, a reward model, RLOO on it"),
    "rlhf_iterated": Entry(
        Feedback(RLHF(policy=dataclasses.replace(RLOO, updates=500), prompts=5461, rounds=3)),
        "the same in three rounds, with as many labels in all",
    ),
}


MODELS: dict[str, Callable[[LMTask], LanguageModel]] = {
    "gpt": lambda task: GPT(task.size, context=task.prompts.shape[1] + task.length),
    "rnn": lambda task: RNN(task.size),
}
"""The language models by name, each as large as its task needs."""


def make_model(name: str, task: LMTask) -> LanguageModel:
    """The model of this name for a task. Raises: SpecError with the nearest names."""
    return naming.lookup("model", name, MODELS)(task)


def make_method(spec: str) -> Any:
    """The method that `spec` names: `NAME` or `NAME:key=value,...` over its hyperparameters.

    Raises: SpecError for an unknown name, key or value, with the nearest names.
    """
    name, settings = naming.parse(spec)
    method = naming.lookup("method", name, METHODS).method
    inner = {Climb: "policy", Compare: "preference", Feedback: "rlhf"}.get(type(method))
    if inner is None:
        return dataclasses.replace(method, **naming.arguments(spec, settings, naming.settable(type(method))))
    part = getattr(method, inner)
    values = naming.arguments(spec, settings, naming.settable(type(part)))
    return dataclasses.replace(method, **{inner: dataclasses.replace(part, **values)})


def shortened(settings: Any, updates: int) -> Any:
    """Settings whose every stage makes at most so many updates: for rehearsals."""
    parts = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    fewer = {name: shortened(value, updates) for name, value in parts.items() if dataclasses.is_dataclass(value)}
    if "updates" in parts:
        fewer["updates"] = min(parts["updates"], updates)
    return dataclasses.replace(settings, **fewer)
