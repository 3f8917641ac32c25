"""Every claim, in the order of the lecture."""

from __future__ import annotations

from seqrl_jax.claims import dialogue, lm, memory, pomdp
from seqrl_jax.claims.base import SOURCES, Claim

CLAIMS: tuple[Claim, ...] = tuple(
    sorted((*pomdp.CLAIMS, *memory.CLAIMS, *lm.CLAIMS, *dialogue.CLAIMS), key=lambda claim: SOURCES.index(claim.source))
)
