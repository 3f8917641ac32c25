"""Where methods that learn from whole returns end, with unlimited data and capacity: exactly, in units of return."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from seqrl_jax.dialogue.conditioned import conditioned_on_best
from seqrl_jax.dialogue.exact import Known, evaluated
from seqrl_jax.dialogue.method import Method
from seqrl_jax.dialogue.offline import Imitation, ReturnConditioned
from seqrl_jax.dialogue.preferences import Preferences
from seqrl_jax.dialogue.preferred import preferred
from seqrl_jax.dialogue.refuel import Refuel


def limit_of(method: Method, known: Known) -> float | None:
    """What a method earns there; None where that is not known.

    Raises: TooLarge for a game whose dialogues are too many; ValueError for one with a discount, whose returns are on
        no grid, or whose replies do not tell what was paid.
    """
    if isinstance(method, Imitation):
        return conditioned_on_best(known, method.best).value
    if isinstance(method, ReturnConditioned):
        return conditioned_on_best(known, 1 / method.quantiles).value
    if isinstance(method, Preferences):
        count = jnp.arange(known.horizon + 1)
        weights = np.asarray(method.weights.of(*jnp.meshgrid(count, jnp.maximum(count, 1), indexing="ij")))
        return preferred(known, float(method.beta), lambda turn, turns: float(weights[turn, turns]))[0]
    if isinstance(method, Refuel):
        return known.value(known.best)
    return None


def without_luck(method: Method, known: Known) -> float | None:
    """What a method earns there whose temperature alone keeps it from the optimum: that of E[return] - beta KL; None
    for one that has no such temperature."""
    if not isinstance(method, Preferences):
        return None
    plan = known.regularised(float(method.beta)).policy
    return known.value(evaluated(known.beliefs.graph, plan))
