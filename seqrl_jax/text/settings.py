"""What is trained on a user's texts, and how."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from seqrl_jax.lm.policy_gradient import GROUPED, PolicyGradient
from seqrl_jax.naming import check, convert, require, settable
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.settings import AttentionKernel, Count, Depth, Dtype, Part, PositiveFloat, Seed, Several, Weight, Width
from seqrl_jax.text.corpus import Purpose
from seqrl_jax.text.losses import PREFERENCES, REWARD_MODEL, SUPERVISED
from seqrl_jax.text.policy import POLICY_GRADIENTS

METHODS = (SUPERVISED, REWARD_MODEL, *PREFERENCES, *POLICY_GRADIENTS)
LINES = 100
"""How often a run reports, unless that is set."""


class TrainingError(ValueError):
    """A run that cannot begin or go on."""


class Files(NamedTuple):
    """What a run reads. test: what judges, instead of a part of the data. start: a directory of weights to begin with.
    reward: the directory of a run of `rm`, which a policy gradient maximises."""

    data: Path
    test: Path | None = None
    start: Path | None = None
    reward: Path | None = None


@dataclass(frozen=True)
class TextRun:
    """What is trained, and how.

    Attributes:
        method: `sft`; `rm`; `dpo`, `ipo`, `kto`; or `ppo`, `rloo`, `grpo`, `dr_grpo`. steps: gradient steps, or
            batches of answers. batch: examples, packed rows or answers in each. learning_rate: of Adam, falling to 0.
        beta: of the preference losses (.1), or the price of the KL (.05). context: tokens of a text at most, as many as
            the model reads unless set. held_out: share of the prompts. seed: of weights and of the order of examples.
        check_every: steps between checkpoints. log_every: steps between points of the curve, a hundredth unless set.
        group, answer, missing_end: of the policy gradients: answers to each prompt, tokens of an answer at most,
            its end among them, and the price of one that does not end, in deviations of the reward among pi_0's answers
            to a prompt.
        packing: of `sft`: several short texts share a row of `context` tokens, none of which sees another text.
    """

    method: str = SUPERVISED
    steps: Count = 1000
    batch: Count = 16
    learning_rate: PositiveFloat = 0.0005
    beta: Weight | None = None
    context: Several | None = None
    held_out: Part = 0.1
    seed: Seed = 0
    check_every: Count = 100
    log_every: Count | None = None
    group: Count = 8
    answer: Count = 64
    missing_end: Weight = 1.0
    packing: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise TrainingError(f"unknown method {self.method!r}, expected one of {', '.join(METHODS)}")
        check(self)
        for name, domain in settable(TextRun).items():
            # `check` leaves floats alone, as those of an agent may be traced.
            if isinstance(value := getattr(self, name), float):
                convert(name, domain, repr(value))
        if self.draws_answers:
            policy = POLICY_GRADIENTS[self.method]
            fewest = 2 if policy.advantage in GROUPED else 1
            if self.group < fewest or self.batch % self.group:
                least = ", of two at least" if fewest == 2 else ""
                raise TrainingError(f"a batch of {self.batch} answers has no groups of {self.group}{least}")
            if self.batch % policy.minibatches:
                parts = f"{policy.minibatches} equal parts, in which {self.method} learns from it"
                raise TrainingError(f"a batch of {self.batch} answers does not divide into {parts}")
        why = "a preference loss of no price asks for nothing"
        require(self.method not in PREFERENCES or self.price >= SMALLEST_PRICE, why, method=self.method, beta=self.beta)
        why = "only texts that are imitated are packed"
        require(not self.packing or self.method == SUPERVISED, why, method=self.method, packing=self.packing)
        why = "its reference point is how answers to other prompts fare, of two at least"
        require(self.method != "kto" or self.batch > 1, why, method=self.method, batch=self.batch)

    @property
    def draws_answers(self) -> bool:
        """Whether it is a policy gradient, which maximises the reward of answers that it draws."""
        return self.method in POLICY_GRADIENTS

    @property
    def prefers(self) -> bool:
        """Whether it learns from preferences."""
        return self.method in (REWARD_MODEL, *PREFERENCES)

    @property
    def needs_start(self) -> bool:
        """Whether it compares with a model that it begins with."""
        return self.draws_answers or self.method in PREFERENCES

    @property
    def reads(self) -> Purpose:
        """What it reads examples for."""
        if self.draws_answers:
            return "prompts"
        return "labels" if self.method == "kto" else "pairs" if self.prefers else "texts"

    @property
    def crosses(self) -> bool:
        """Whether it also reads answers behind other prompts than their own."""
        return self.method == "kto"

    @property
    def price(self) -> float:
        """beta, or what stands for it."""
        return (0.05 if self.draws_answers else 0.1) if self.beta is None else self.beta

    @property
    def points_every(self) -> int:
        """Steps between points of the curve."""
        return max(1, self.steps // LINES) if self.log_every is None else self.log_every

    @property
    def policy(self) -> PolicyGradient:
        """The policy gradient with these settings."""
        return dataclasses.replace(
            POLICY_GRADIENTS[self.method],
            kl_coef=self.price,
            prompts=self.batch // self.group,
            group=self.group,
            learning_rate=self.learning_rate,
            updates=self.steps,
        )

    def identity(self) -> dict[str, object]:
        """What makes a run the one that it is: not how far it goes, nor how often it reports or is kept."""
        free = ("steps", "check_every", "log_every")
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in free}


SMALLEST_PRICE = 1e-6
"""IPO asks for a margin of half its inverse."""


@dataclass(frozen=True)
class ModelSettings:
    """The model that was asked for. Sizes that are None are those of the weights to begin with, or `DEFAULT_SIZES`."""

    width: Width | None = None
    layers: Depth | None = None
    heads: Depth | None = None
    dtype: Dtype = "float32"
    remat: bool = False
    attention: AttentionKernel = "xla"

    def __post_init__(self) -> None:
        check(self)

    def new(self, vocabulary: int, context: int) -> GPT:
        """A model of these sizes."""
        width, layers, heads = (DEFAULT_SIZES[name] if size is None else size for name, size in self._sizes().items())
        return GPT(vocabulary, context, width, layers, heads, self.dtype, self.remat, self.attention)

    def as_computed(self, loaded: GPT) -> GPT:
        """A model of the loaded sizes, computed as is asked here. Raises: TrainingError where another size is asked."""
        for name, size in self._sizes().items():
            there = {"width": loaded.width, "layers": loaded.layers, "heads": loaded.heads}[name]
            if size is not None and size != there:
                raise TrainingError(f"{name} is {size}, and {there} of the weights to begin with")
        return loaded.clone(dtype=self.dtype, remat=self.remat, attention=self.attention)

    def _sizes(self) -> dict[str, int | None]:
        return {"width": self.width, "layers": self.layers, "heads": self.heads}


DEFAULT_SIZES = {"width": 256, "layers": 4, "heads": 4}
DEFAULT_CONTEXT = 256
