"""A late sensor: what is observed is some steps old. Rewards and ends are on time.

Source: Katsikopoulos & Engelbrecht (2003), Markov decision processes with delays and asynchronous cost collection.
"""

from __future__ import annotations

from typing import Any

from jax import Array

from seqrl_jax.settings import Delay as DelaySteps
from seqrl_jax.tasks.environment import Space
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.tabular import TabularPOMDP
from seqrl_jax.tasks.wrappers.blank import blank_in, mask_with_blank, space_with_blank
from seqrl_jax.tasks.wrappers.checked import checked
from seqrl_jax.tasks.wrappers.recent import Recent, with_recent


@checked
def delay(task: TabularPOMDP, steps: DelaySteps) -> TabularPOMDP:
    """The observation becomes o_{t-steps}; before there is one, `blank`.

    The best policy of the history is worth no more than it was: it could wait. Raises: TaskError where the states, each
    with the observations that are under way, become too many.
    """
    return with_recent(task, steps, lambda frames: frames[:1])


class Delay(Recent):
    """The observation is that of `before` steps ago; blank before there is one."""

    @property
    def observation_space(self) -> Space:
        return space_with_blank(self.env.observation_space)

    def observation_mask(self, params: Any) -> Array:
        return mask_with_blank(self.env.observation_space, self.env.observation_mask(params))

    def _frame(self, obs: Array) -> Array:
        return obs

    def _blank(self) -> Array:
        return blank_in(self.observation_space)

    def _shown(self, frames: Array) -> Array:
        return frames[0]


@checked
def delay_env(ready: Ready, steps: DelaySteps) -> Ready:
    """An environment that is observed some steps late; see `Delay`."""
    return Ready(Delay(ready.env, steps), ready.params)
