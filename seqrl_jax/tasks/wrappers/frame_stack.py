"""The last observations together are the observation: the memory of those who have none.

Source: Mnih et al. (2015), Human-level control through deep reinforcement learning, methods (there 4 frames).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from seqrl_jax.settings import Depth
from seqrl_jax.tasks.environment import Box, everything_in
from seqrl_jax.tasks.ready import Ready
from seqrl_jax.tasks.tabular import TabularPOMDP
from seqrl_jax.tasks.wrappers.checked import checked
from seqrl_jax.tasks.wrappers.codes import code, code_space, repeated
from seqrl_jax.tasks.wrappers.recent import Recent, with_recent


@checked
def frame_stack(task: TabularPOMDP, frames: Depth) -> TabularPOMDP:
    """The observation becomes (o_{t-frames+1}, ..., o_t), `blank` where the episode is younger.

    The best policy of the history is worth what it was: it recalls them. Raises: TaskError where the states, each with
    its frames, become too many.
    """
    return with_recent(task, frames - 1, lambda frames: frames)


class FrameStack(Recent):
    """Codes of the last `before + 1` observations along the last axis, the oldest first: channels of an image, entries
    of a vector, one-hot codes of symbols; zeros where the episode is younger."""

    @property
    def observation_space(self) -> Box:
        return repeated(self._frame_space, self.before + 1)

    def observation_mask(self, params: Any) -> Array:
        return everything_in(self.observation_space)

    @property
    def _frame_space(self) -> Box:
        return code_space(self.env.observation_space)

    def _frame(self, obs: Array) -> Array:
        return code(obs, self.env.observation_space)

    def _blank(self) -> Array:
        return jnp.zeros(self._frame_space.shape)

    def _shown(self, frames: Array) -> Array:
        return jnp.moveaxis(frames, 0, -2).reshape(self.observation_space.shape)


@checked
def frame_stack_env(ready: Ready, frames: Depth) -> Ready:
    """An environment that shows this many observations at once; see `FrameStack`."""
    return Ready(FrameStack(ready.env, frames - 1), ready.params)
