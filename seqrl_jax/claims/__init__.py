"""The lecture's statements as measured facts."""

from seqrl_jax.claims.base import SOURCES, VERDICTS, Claim, Evidence, Measured, judged, summary
from seqrl_jax.claims.registry import CLAIMS

__all__ = ["CLAIMS", "SOURCES", "VERDICTS", "Claim", "Evidence", "Measured", "judged", "summary"]
