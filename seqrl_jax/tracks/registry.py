"""The tracks by name. A new track is one module and one line here."""

from __future__ import annotations

from seqrl_jax import naming
from seqrl_jax.tracks.base import Track
from seqrl_jax.tracks.dialogue import DIALOGUE
from seqrl_jax.tracks.environments import ANY
from seqrl_jax.tracks.lm import LM
from seqrl_jax.tracks.pomdp import POMDP

TRACKS: dict[str, Track] = {track.name: track for track in (POMDP, ANY, LM, DIALOGUE)}


def track(name: str) -> Track:
    """The track of this name. Raises: SpecError with the nearest names."""
    return naming.lookup("track", name, TRACKS)
