"""What is descended on texts: tokens [B, K, T + 1] and mask [B, K, T] as `token_batch` gives them, K answers each; and
the same of packed rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from seqrl_jax.lm.base import token_distribution
from seqrl_jax.lm.preference import dpo, ipo, kto, kto_answers
from seqrl_jax.lm.reward_model import plackett_luce
from seqrl_jax.lm.sft import cross_entropy
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights
from seqrl_jax.text.packing import PackedBatch

SUPERVISED, REWARD_MODEL = "sft", "rm"
PREFERENCES = ("dpo", "ipo", "kto")


def losses_of(
    method: str,
    beta: float,
    model: LanguageModel,
    weights: Weights,
    reference: Weights,
    tokens: Array,
    mask: Array,
    good: Array | None = None,
    end: int | None = None,
) -> tuple[Array, Array]:
    """The loss of every example, and by how much its first answer is preferred to its second: [B] and [B].

    Args: method: `sft`, `rm`, `dpo`, `ipo` or `kto`. weights: {"model"}, for `rm` also {"head"} [D]. For `kto` the
        later half of the answers are those to another prompt (`others` of `token_batch`). Without pairs the second is
        the mean log-probability of a token. good: [B], labels of single answers, of which `kto` then learns; the second
        is by how much the label is agreed with. end: the token of `scores`, which `rm` needs.
    """
    flat, wanted = tokens.reshape(-1, tokens.shape[-1]), mask.reshape(-1, mask.shape[-1])
    by_example = lambda values: values.reshape(tokens.shape[:2])
    if method == REWARD_MODEL:
        score = by_example(scores(model, weights, flat, wanted, end))
        return jax.vmap(lambda row: plackett_luce(row[None]))(score), score[:, 0] - score[:, 1]

    def log_probs(weights: Weights) -> Array:
        return jnp.where(wanted, token_distribution(model.apply(weights, flat[:, :-1])).log_prob(flat[:, 1:]), 0.0)

    ours = log_probs(weights["model"])
    if method == SUPERVISED:
        each = jax.vmap(cross_entropy)(ours, wanted)
        return each, -each
    h = by_example((ours - jax.lax.stop_gradient(log_probs(reference))).sum(1))
    if method == "kto" and good is not None:
        return judged_alone(h[:, 0], good, beta, h[:, 1].mean())
    first, second = h[:, 0], h[:, 1]
    if method == "kto":
        return jax.vmap(lambda w, r: kto(w, r, beta, h[:, 2:].mean()))(first, second), first - second
    return jax.vmap(lambda w, r: {"dpo": dpo, "ipo": ipo}[method](w, r, beta))(first, second), first - second


def packed_losses(model: GPT, weights: Weights, batch: PackedBatch) -> Array:
    """[B]: of each row, the sum of the losses that `sft` has on its texts one by one."""
    log_probs = packed_log_probs(model, weights, batch)
    return -jnp.sum(jnp.where(batch.loss_weight > 0, batch.loss_weight * log_probs, 0.0), 1)


def packed_log_probs(model: GPT, weights: Weights, batch: PackedBatch) -> Array:
    """[B, T]: the log-probability of what follows each token in its own text, in nats; of no meaning in padding."""
    hidden = model.apply(weights, batch.tokens, batch.segment_ids, method="hidden")
    return token_distribution(model.apply(weights, hidden, method="logits")).log_prob(jnp.asarray(batch.targets))


def judged_alone(h: Array, good: Array, beta: float, baseline: Array) -> tuple[Array, Array]:
    """KTO on single answers with labels good [B]. Ethayarajh et al. (2024), eq. 8, at equal weights.

    `1 - sigmoid(beta (h - z))` of good ones, `1 - sigmoid(beta (z - h))` of bad ones. baseline: z [], as of `kto`.
    Returns: the losses, and h with its sign turned for bad answers, positive where the policy says a good answer more
    often than pi_0 does or a bad one less often; both [B].
    """
    sign = jnp.where(good, 1.0, -1.0)
    return jax.vmap(lambda h, sign: kto_answers(h, sign, beta, baseline))(h, sign), sign * h


def scores(model: LanguageModel, weights: Weights, tokens: Array, mask: Array, end: int | None) -> Array:
    """[N]: what a reward model, {"model", "head"}, says of texts [N, T + 1] with their answers at mask [N, T].

    It reads the answer to its last token before `end`, whether it was ended or cut, as far as T reaches; an empty one
    to the last token of its prompt.
    """
    hidden = model.apply(weights["model"], tokens[:, :-1], method="hidden")
    spoken = mask if end is None else mask & (tokens[:, 1:] != end)
    places = jnp.arange(1, mask.shape[1] + 1)
    last = jnp.where(spoken.any(1), jnp.max(jnp.where(spoken, places, 0), 1), jnp.argmax(mask, 1))
    last = jnp.minimum(last, mask.shape[1] - 1)
    return jnp.take_along_axis(hidden, last[:, None, None], 1)[:, 0] @ weights["head"]
