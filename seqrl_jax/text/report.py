"""What a run on texts found: numbers beside their references, and what they say."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seqrl_jax.report.words import counted
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


def as_good_as_counting(method: str, better: int, prompts: int) -> str:
    """What is to be said of a model of preferences beside counts of bytes.

    better: 1 or -1 where it is right more or less often than they are, on so many prompts; 0 where these do not tell.
    """
    what = "the reward model" if method == "rm" else "the model"
    advice = ": optimising it is not advised" if method == "rm" and better <= 0 else ""
    return _compared(what, "counting bytes", better, counted(prompts, "prompt")) + advice


def as_good_as_pairs(better: int, prompts: int) -> str:
    """The same of a model of texts beside counts of pairs of bytes."""
    return _compared("the model", "counting pairs of bytes", better, counted(prompts, "prompt"))


def reward_moved(rose: int, prompts: int) -> str:
    """What is to be said of a policy.

    rose: 1 or -1 where its reward is more or less than before; 0 where so many prompts do not decide it.
    """
    judged = counted(prompts, "prompt")
    if not rose:
        return f"whether the reward rose is not decided by {judged}"
    return f"the reward {'rose' if rose > 0 else 'fell'}, on {judged}"


def _compared(what: str, other: str, better: int, judged: str) -> str:
    if not better:
        return f"whether {what} is better than {other} is not decided by {judged}"
    return f"{what} is {'better' if better > 0 else 'worse'} than {other}, on {judged}"


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
