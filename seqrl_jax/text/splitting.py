"""Which examples are learned from and which are held out, decided by what they are about.

An example is held out by a hash of its topic (the prompt, or the first turn of a dialogue), never by its place in a
file. So copies and other answers to a prompt stand on one side, and a prompt that one stage held out is held out by all
later ones, whichever file it comes in.
"""

from __future__ import annotations

import numpy as np

from seqrl_jax.text.corpus import Corpus, Part
from seqrl_jax.text.examples import DataError


def split(corpus: Corpus, share: float) -> tuple[Part, Part]:
    """The examples to learn from, and those held out: about `share` of the topics, at least one and not all.

    Raises: DataError where all examples have one topic.
    """
    topics = np.unique(corpus.topics)
    if len(topics) < 2:
        what = "1 example" if len(corpus) == 1 else f"{len(corpus)} examples of one prompt"
        raise DataError(f"{what}: none can be held out; judge on another file (--test)")
    # Topics are evenly spread below 2^64.
    limit = np.uint64(min(int(share * 2.0**64), 2**64 - 1))
    out = topics < limit
    out[0], out[-1] = True, False
    held = np.isin(corpus.topics, topics[out])
    return Part(corpus, np.flatnonzero(~held)), Part(corpus, np.flatnonzero(held))


def shared(one: Corpus, other: Corpus) -> int:
    """How many examples of the second have a topic that the first has too."""
    return int(np.isin(other.topics, one.topics).sum())
