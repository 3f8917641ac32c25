"""The screen flickers: each observation is lost with some probability, independently of all else.

Source: Hausknecht & Stone (2015), Deep recurrent Q-learning for partially observable MDPs (there p = 0.5).
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import sparse

from seqrl_jax.settings import Probability
from seqrl_jax.tasks.environment import Space
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.tables import SparseTable
from seqrl_jax.tasks.tabular import TabularPOMDP, validated
from seqrl_jax.tasks.wrappers.blank import blank_in, mask_with_blank, names_with_blank, space_with_blank
from seqrl_jax.tasks.wrappers.checked import checked
from seqrl_jax.tasks.wrappers.numbered import Numbered, Sensor


@checked
def flicker(task: TabularPOMDP, probability: Probability) -> TabularPOMDP:
    """Each observation, the first one too, is `blank` with this probability.

    The best policy of the history is worth no more than it was: it could forget. Raises: SpecError for a number that is
    no probability.
    """
    names, blank = names_with_blank(task)
    every = np.arange(task.num_states)
    at_blank = (every, np.full_like(every, names.index(blank)))
    lost = sparse.csr_array((np.full(task.num_states, probability), at_blank), shape=(task.num_states, len(names)))

    def seen(law: sparse.csr_array) -> sparse.csr_array:
        return sparse.csr_array(((1 - probability) * law.data, law.indices, law.indptr), shape=lost.shape) + lost

    return validated(
        replace(
            task,
            initial_observation=seen(task.lists.initial_observation),
            observation=SparseTable(tuple(map(seen, task.lists.observation))),
            observations=names,
            blank=blank,
        )
    )


class Flicker(Sensor):
    """Each observation is blank with probability `params.number`."""

    @property
    def observation_space(self) -> Space:
        return space_with_blank(self.env.observation_space)

    def observation_mask(self, params: Numbered) -> Array:
        return mask_with_blank(self.env.observation_space, self.env.observation_mask(params.inner))

    def _seen(self, key: Array, obs: Array, number: Array) -> Array:
        return jnp.where(jax.random.bernoulli(key, number), blank_in(self.observation_space), obs)


@checked
def flicker_env(ready: Ready, probability: Probability) -> Ready:
    """An environment whose observations are lost with this probability; see `Flicker`."""
    return Ready(Flicker(ready.env), Numbered(ready.params, jnp.float32(probability)))
