"""What a run on texts found: numbers beside their references, and what they say."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seqrl_jax.results.provenance import write_measurement
from seqrl_jax.text.judge import Summary
from seqrl_jax.text.training import Curve

REPORT = "report.json"
KIND = "text"


@dataclass(frozen=True)
class Report:
    """What was found on the examples held out: {"mean", "low", "high"}, 95% intervals over prompts.

    planned: steps that were asked for, one after another. examples, prompts: of the data, different prompts among them;
    duplicates, skipped, disliked: as of `Corpus`. held_out: examples, of which `judged` were; shared_prompts: how many
    of them have a prompt that was learned from, which only --test allows. truncated: examples longer than the context.
    padding: share of the places of packed rows that no text fills.
    loss: nats per token (sft) or per example. indifferent: that of a model that prefers nothing. per_byte, unigram,
    bigram: nats per byte of the model, and of counts of bytes and of pairs of bytes. accuracy: how often the model
    prefers what was chosen, or agrees with the label; longer, bytes: the same of logistic regressions on the length and
    on counts of bytes. reward_before, reward, plain_reward: of answers, in deviations of the reward under pi_0, the
    last without the price of not ending; gained: the difference by prompt; kl: nats per answer; ended_before, ended:
    shares of answers; length_before, length: tokens. None where a method has no such thing.
    """

    method: str
    steps: int
    planned: list[int]
    examples: int
    prompts: int
    duplicates: int
    skipped: int
    disliked: int
    held_out: int
    judged: int
    shared_prompts: int
    truncated: int
    padding: float | None = None
    loss: Summary | None = None
    indifferent: float | None = None
    per_byte: Summary | None = None
    unigram: Summary | None = None
    bigram: Summary | None = None
    accuracy: Summary | None = None
    longer: Summary | None = None
    bytes: Summary | None = None
    reward_before: Summary | None = None
    reward: Summary | None = None
    plain_reward: Summary | None = None
    gained: Summary | None = None
    kl: Summary | None = None
    ended_before: Summary | None = None
    ended: Summary | None = None
    length_before: Summary | None = None
    length: Summary | None = None
    verdict: str | None = None
    curve: Curve = field(default_factory=list)
    samples_before: list[dict[str, str]] = field(default_factory=list)
    samples_after: list[dict[str, str]] = field(default_factory=list)


LABELS = {
    "loss": "loss, nats",
    "per_byte": "nats per byte",
    "unigram": "  counts of bytes",
    "bigram": "  counts of pairs of bytes",
    "accuracy": "prefers what was chosen",
    "longer": "  regression on length",
    "bytes": "  regression on counts of bytes",
    "reward_before": "reward before, deviations",
    "reward": "reward",
    "plain_reward": "  without the price of not ending",
    "gained": "  gained, prompt by prompt",
    "kl": "KL, nats per answer",
    "ended_before": "answers that end, before",
    "ended": "answers that end",
    "length_before": "tokens of an answer, before",
    "length": "tokens of an answer",
}
"""What numbers are called where people read them, in their order; an indented one is a reference or a part."""


def as_good_as_counting(method: str, better: Summary) -> str:
    """What is to be said of a model of preferences that gets `better` more right than counts of bytes do."""
    what = "the reward model" if method == "rm" else "the model"
    if better["low"] is None:
        return "too few prompts were judged to tell"
    if better["low"] > 0:
        return f"{what} is better than counting bytes"
    advice = ": climbing it is not advised" if method == "rm" else ""
    return f"{what} is not better than counting bytes{advice}"


def as_good_as_pairs(better: Summary) -> str:
    """The same of a model of texts that needs `better` fewer nats per byte than counts of pairs of bytes do."""
    if better["low"] is None:
        return "too few texts were judged to tell"
    return f"the model is {'' if better['low'] > 0 else 'not '}better than counting pairs of bytes"


def climbed(gained: Summary) -> str:
    """What is to be said of a policy whose reward changed by so much."""
    if gained["low"] is None:
        return "too few prompts were judged to tell"
    return "the reward rose" if gained["low"] > 0 else "the reward did not rise"


def write_report(directory: Path, report: Report) -> None:
    """Write `report.json`. Raises: OSError."""
    write_measurement(directory / REPORT, {"kind": KIND, **asdict(report)})


def read_report(directory: Path) -> dict[str, Any] | None:
    """What `write_report` wrote, or None where a directory holds no such thing."""
    try:
        content = json.loads((directory / REPORT).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("kind") == KIND else None
