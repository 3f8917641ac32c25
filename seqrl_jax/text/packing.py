"""Short texts one after another in rows of the context's length, so that little of a batch is padding.

First-fit decreasing: the longest text first, each goes into the first row that has room for it. Rows are at most 11/9
of the fewest possible, plus one. Source: Dósa (2007), The tight bound of first fit decreasing bin-packing algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from seqrl_jax.text.corpus import Corpus, Part
from seqrl_jax.text.encoding import text_row


class PackedBatch(NamedTuple):
    """B rows of T places, filled from the left.

    tokens: [B, T], ends as padding. targets: [B, T], what follows each token in its own text. loss_weight: [B, T],
    1 / n where that is one of the n tokens of a text that the model says, else 0. segment_ids: [B, T], 1, 2, ... for
    the texts of a row, and 0 for padding.
    """

    tokens: np.ndarray
    targets: np.ndarray
    loss_weight: np.ndarray
    segment_ids: np.ndarray


@dataclass(frozen=True, eq=False)
class Packing:
    """R rows with the examples of a part, each in one of them.

    Attributes: texts: [n] their indices in the corpus, row by row. bounds: [R + 1], those of a row lie between two of
        these. padding: share of all places that no text fills.
    """

    texts: np.ndarray
    bounds: np.ndarray
    padding: float

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def row(self, number: int) -> np.ndarray:
        """The indices of its texts."""
        return self.texts[self.bounds[number] : self.bounds[number + 1]]


def pack(part: Part, context: int, seed: int) -> Packing:
    """Rows of `context` places. Texts that are longer are cut as `token_batch` cuts them. seed: of the order in which
    texts of one length are placed."""
    bounds, begins = part.corpus.bounds[part.indices], part.corpus.begins[part.indices]
    # The token that begins a text follows none, and its last one is not read.
    lengths = np.minimum(bounds[:, 2] - bounds[:, 0] - ~begins, context)
    order = np.random.default_rng(seed).permutation(len(part))
    order = order[np.argsort(-lengths[order], kind="stable")]
    rows = first_fit(lengths[order], context)
    by_row = order[np.argsort(rows, kind="stable")]
    counts = np.bincount(rows)
    return Packing(
        texts=part.indices[by_row],
        bounds=np.concatenate([[0], np.cumsum(counts)]),
        padding=1 - float(lengths.sum()) / (len(counts) * context),
    )


def first_fit(lengths: np.ndarray, room: int) -> np.ndarray:
    """[n]: the row of each text, the first one that has room left. lengths: [n], falling, from 1 to `room`."""
    left, rows = np.zeros(0, int), list[np.ndarray]()
    # All texts of one length at once: the first row takes as many of them as it has room for, then the next.
    for length, count in zip(*(values[::-1] for values in np.unique(lengths, return_counts=True)), strict=True):
        left = np.concatenate([left, np.full(-(-count // (room // length)), room)])
        fitting = left // length
        placed = np.clip(count - (np.cumsum(fitting) - fitting), 0, fitting)
        rows.append(np.repeat(np.arange(len(left)), placed))
        left -= placed * length
        left = left[left < room]
    return np.concatenate(rows)


def packed_batch(corpus: Corpus, rows: Sequence[np.ndarray], context: int) -> PackedBatch:
    """Rows with the texts at these indices, T the context."""
    shape = len(rows), context
    tokens, targets = (np.full(shape, corpus.vocabulary.end, np.int32) for _ in range(2))
    loss_weight, segment_ids = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    for row, texts in enumerate(rows):
        begin = 0
        for number, index in enumerate(texts, 1):
            text, own = text_row(corpus, index, context)
            places = slice(begin, begin + len(text) - 1)
            tokens[row, places], targets[row, places] = text[:-1], text[1:]
            loss_weight[row, places] = own[1:] / max(own[1:].sum(), 1)
            segment_ids[row, places] = number
            begin = places.stop
    return PackedBatch(tokens, targets, loss_weight, segment_ids)
