"""The methods by name. A new method is a frozen dataclass and one line here.

Every method that learns from labels gets 65,536 of them, each of a pair of answers by the same labeller: pairs for
DPO's family, one answer of each for KTO, a reward model's data for RLHF, of all rounds together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from seqrl_jax import naming
from seqrl_jax.lm.distillation import BestOfDistilled
from seqrl_jax.lm.kto import KTO
from seqrl_jax.lm.labels import Labeller
from seqrl_jax.lm.method import BestOf, Method, Reference
from seqrl_jax.lm.policy_gradient import PolicyGradient
from seqrl_jax.lm.preference import ORPO, NoisyPreference, Preference, SimPO
from seqrl_jax.lm.reward_model import RewardModel
from seqrl_jax.lm.rlhf import RLHF
from seqrl_jax.lm.tasks import LMTask, make_task
from seqrl_jax.lm.tuned import tuned
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.rnn import RNN


@dataclass(frozen=True)
class Entry:
    """A method with its shipped hyperparameters, one set for all tasks."""

    method: Method
    about: str


SEVERAL_PASSES: dict[str, Any] = {"epochs": 4, "minibatches": 4, "learning_rate": 0.001, "updates": 600}
PPO = PolicyGradient(advantage="value", ratio="token", clip=0.2, **SEVERAL_PASSES)
RLOO = PolicyGradient(advantage="leave_one_out")
GRPO = PolicyGradient(
    advantage="group", ratio="token", clip=0.2, divergence="loss", average="completion", **SEVERAL_PASSES
)
DR_GRPO = dataclasses.replace(GRPO, advantage="group_mean", average="sum")

GSPO = dataclasses.replace(GRPO, ratio="geometric", average="sum")
DAPO = dataclasses.replace(GRPO, clip_high=0.28, average="batch", candidates=3, kl_coef=0.0)
REINFORCE_PP = PolicyGradient(advantage="batch", ratio="token", clip=0.2, **SEVERAL_PASSES)
NOISY = Labeller(noise=0.1)

SHIPPED: dict[str, Entry] = {
    "sft": Entry(Reference(), "supervised training alone: the reference policy"),
    "best_of_16": Entry(BestOf(16), "the best of 16 answers by the gold reward, exactly"),
    "best_of_16_distilled": Entry(BestOfDistilled(16), "supervised training on the best of 16 answers"),
    "lm_reinforce": Entry(PolicyGradient(advantage="total"), "REINFORCE with the total reward"),
    "lm_reinforce_baseline": Entry(PolicyGradient(), "REINFORCE minus the batch's mean"),
    "reinforce_pp": Entry(
        REINFORCE_PP, "REINFORCE++: reward to go, normalised over the batch, clipped ratios of tokens"
    ),
    "lm_importance": Entry(
        PolicyGradient(ratio="completion", **SEVERAL_PASSES),
        "importance-weighted REINFORCE, several passes over a batch",
    ),
    "lm_ppo": Entry(PPO, "PPO: clipped ratios of tokens, a value head, KL in the reward"),
    "rloo": Entry(RLOO, "REINFORCE minus the mean of the other answers to the prompt"),
    "grpo": Entry(GRPO, "GRPO: rewards normalised within the prompt, KL in the loss"),
    "dr_grpo": Entry(DR_GRPO, "GRPO without dividing by deviation and length"),
    "gspo": Entry(GSPO, "GRPO with the ratio of whole completions, its root of the order of their length"),
    "dapo": Entry(DAPO, "GRPO without KL: a higher clip upwards, all tokens alike, groups whose rewards differ"),
    "dpo": Entry(Preference(), "direct preference optimisation on labelled pairs"),
    "ipo": Entry(Preference(loss="ipo"), "identity preference optimisation"),
    "kto": Entry(KTO(), "answers judged good or bad one by one, against a reference point"),
    "orpo": Entry(ORPO(), "supervised training on the chosen answer, and its odds against the rejected one"),
    "simpo": Entry(SimPO(), "DPO on the mean log-probability of tokens, with a margin and without pi_0"),
    "dpo_noisy": Entry(Preference(labeller=NOISY), "DPO where a tenth of the labels is turned around"),
    "cdpo": Entry(NoisyPreference(labeller=NOISY), "DPO with smoothed labels, on the same noisy ones"),
    "rdpo": Entry(
        NoisyPreference(loss="rdpo", labeller=NOISY), "DPO with the bias of noisy labels taken out, on the same ones"
    ),
    "online_dpo": Entry(Preference(online=True), "DPO on fresh answers of the policy itself"),
    "rlhf": Entry(RLHF(policy=RLOO), "labels, a reward model, RLOO on it"),
    "rlhf_implicit": Entry(
        RLHF(RewardModel(features="likelihood"), RLOO), "the same on a reward model that is a likelihood ratio to pi_0"
    ),
    "rlhf_ensemble": Entry(RLHF(RewardModel(members=4), RLOO), "the same on the mean of four reward models"),
    "rlhf_worst_case": Entry(
        RLHF(RewardModel(members=4, pessimistic=True), RLOO), "the same on the smallest reward of the four"
    ),
    "rlhf_iterated": Entry(
        RLHF(policy=dataclasses.replace(RLOO, updates=500), rounds=3),
        "labels, a reward model and RLOO in three rounds, with as many labels in all",
    ),
}
"""As they were written; see `METHODS`."""
METHODS: dict[str, Entry] = {
    name: dataclasses.replace(entry, method=tuned(name, entry.method)) for name, entry in SHIPPED.items()
}


ModelName = Literal["gpt", "rnn"]
MODELS: dict[ModelName, Callable[[LMTask], LanguageModel]] = {
    "gpt": lambda task: GPT(task.size, context=task.prompts.shape[1] + task.length),
    "rnn": lambda task: RNN(task.size),
}
"""The language models by name, each as large as its task needs."""


def make_model(task: LMTask, model: ModelName = "gpt") -> LanguageModel:
    """The model of this name for a task."""
    return MODELS[model](task)


def make_task_and_model(spec: str) -> tuple[LMTask, LanguageModel]:
    """The task that `spec` names, `NAME` or `NAME:model=MODEL`, and the language model that pi_0 is made of.

    Raises: SpecError for an unknown name, key or model, with the nearest names.
    """
    name, settings = naming.parse(spec)
    task = make_task(name)
    return task, make_model(task=task, **naming.arguments(spec, settings, naming.settable(make_model)))


def make_method(spec: str) -> Method:
    """The method that `spec` names: `NAME` or `NAME:key=value,...` over its hyperparameters.

    Raises: SpecError for an unknown name, key or value, with the nearest names.
    """
    name, settings = naming.parse(spec)
    method = naming.lookup("method", name, METHODS).method
    kind: Callable[..., Method] = type(method)
    values = naming.arguments(spec, settings, naming.settable(kind))
    return naming.made(spec, lambda: dataclasses.replace(method, **values))


def method_settings(name: str) -> list[naming.Setting]:
    """What can be set of a method, as it ships. Raises: SpecError for an unknown name."""
    method = naming.lookup("method", name, METHODS).method
    return naming.describe_settings(type(method), vars(method))


def shortened(settings: Any, updates: int) -> Any:
    """Settings whose every stage makes at most so many updates: for rehearsals."""
    parts = _fields(settings)
    fewer = {name: shortened(value, updates) for name, value in parts.items() if dataclasses.is_dataclass(value)}
    if "updates" in parts:
        fewer["updates"] = min(parts["updates"], updates)
    return dataclasses.replace(settings, **fewer)


def as_json(settings: Any) -> dict[str, Any]:
    """A dataclass or module and those in it as JSON values, with the names of their classes."""
    parts = _fields(settings)
    values = {name: as_json(value) if dataclasses.is_dataclass(value) else value for name, value in parts.items()}
    return {"name": type(settings).__name__, **values}


def _fields(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, without those with which flax places a module in another, and without what
    only says by which program the same numbers are computed: a run may go on on another device. Of a
    transformer, what GPT-2 fixes is left out at GPT-2's values: records and checkpoints of GPT-2 are older than it."""
    left_out, fixed_by_gpt_2 = ("parent", "name", "attention"), ("activation", "layer_norm_epsilon", "tied")
    fields = {field.name: field.default for field in dataclasses.fields(settings) if field.name not in left_out}
    values = {name: getattr(settings, name) for name in fields}
    return {name: value for name, value in values.items() if name not in fixed_by_gpt_2 or value != fields[name]}
