from itertools import product

import numpy as np
import pytest


@pytest.fixture(scope="session")
def episodes():
    """(task, policy [O, A]) -> every episode: (probability, ((state, observation, action, reward), ...))."""

    def episodes(task, policy):
        def go_on(probability, s, o, t, seen):
            for a, s2 in product(range(task.num_actions), range(task.num_states)):
                here = probability * policy[o, a] * task.transition[a, s, s2]
                if here == 0:
                    continue
                grown = (*seen, (s, o, a, task.reward[a, s, s2]))
                if task.terminal[s2] or t + 1 == task.horizon:
                    yield here, grown
                    continue
                for o2 in np.flatnonzero(task.observation[a, s2]):
                    yield from go_on(here * task.observation[a, s2, o2], s2, o2, t + 1, grown)

        for s, o in np.argwhere(task.initial[:, None] * task.initial_observation):
            yield from go_on(task.initial[s] * task.initial_observation[s, o], s, o, 0, ())

    return episodes
