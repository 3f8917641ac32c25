"""Every claim, in the order of the lecture."""

from __future__ import annotations

from seqrl_jax.claims import dialogue, gradients, learned, lm, memory, values
from seqrl_jax.claims.base import SOURCES, Claim

CLAIMS: tuple[Claim, ...] = tuple(
    sorted(
        (claim for track in (values, gradients, learned, memory, lm, dialogue) for claim in track.CLAIMS),
        key=lambda claim: SOURCES.index(claim.source),
    )
)
