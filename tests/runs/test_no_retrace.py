"""What a row runs is traced and compiled before its second chunk, and never again."""

import jax
import numpy as np
import pytest

from seqrl_jax.runs.compilations import COMPILED, Compilations
from seqrl_jax.runs.interrupt import Interrupt
from seqrl_jax.runs.loop import CheckpointedLoop
from seqrl_jax.runs.observer import Unwatched
from seqrl_jax.runs.plan import Order
from seqrl_jax.runs.runner import run
from seqrl_jax.tracks.base import Budget, Status
from seqrl_jax.tracks.registry import track

TRACED = "/jax/core/compile/jaxpr_trace_duration"


class Counting(Unwatched):
    """Keeps how many traces and compilations there had been at the end of each chunk, and what it was told of them."""

    def __init__(self, events):
        self.events, self.after, self.told = events, [], []

    def chunk(self, progress):
        self.after.append((progress.done, len(self.events)))
        self.told.append(progress.recompiled)


@pytest.fixture
def events():
    """Names of what jax traced and compiled since the test began."""
    seen = []

    def listen(name, seconds, **details):
        if name in (TRACED, COMPILED):
            seen.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("method", ["reward_to_go", "ppo_obs", "q_obs"])
def test_a_row_compiles_nothing_after_its_first_chunk(method, events, tmp_path):
    chosen, observer = track("pomdp"), Counting(events)
    order = Order(
        chosen,
        [method],
        chosen.problems(["tiger", "aliased_line"], lambda done, total: None),
        Budget(8000, 4, (0, 1)),
        "own",
    )
    assert len(list(run(order, tmp_path, observer))) == 2
    assert {TRACED, COMPILED} <= set(events)
    counts = [count for chunk, count in observer.after if chunk >= 1]
    assert len(counts) > 2 and len(set(counts[1:])) == 1
    assert set(observer.told) == {0}


def test_programs_are_counted_while_one_counts():
    double = jax.jit(lambda x: 2 * x)
    one, two = np.ones(1), np.ones(2)
    with Compilations() as compilations:
        double(one), double(one)
        assert compilations.count == 1
        double(two)
        assert compilations.count == 2, "another shape is another program"
    double(np.ones(3))
    assert compilations.count == 2


class Forgetful:
    """A checkpoint that keeps nothing."""

    def restore(self, loop, state, chunks):
        return None

    def save(self, loop, snapshot, chunks):
        pass


def test_a_row_tells_what_it_compiles_after_its_first_chunk():
    observer, twice = Counting([]), jax.jit(lambda x: jax.numpy.append(x, x))
    loop = CheckpointedLoop(Forgetful(), 1, observer, Interrupt())
    loop(np.ones(1), twice, 3, lambda state: Status(0))
    assert observer.told == [0, 0, 1, 2], "arrays that grow are another program at every step"
