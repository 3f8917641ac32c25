"""What a row runs is traced and compiled before its second chunk, and never again."""

import jax
import pytest

from seqrl_jax.runs.observer import Unwatched
from seqrl_jax.runs.plan import Order
from seqrl_jax.runs.runner import run
from seqrl_jax.tracks.base import Budget
from seqrl_jax.tracks.registry import track

TRACED, COMPILED = "/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/backend_compile_duration"


class Counting(Unwatched):
    """Keeps how many traces and compilations there had been at the end of each chunk."""

    def __init__(self, events):
        self.events, self.after = events, []

    def chunk(self, progress):
        self.after.append((progress.done, len(self.events)))


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
