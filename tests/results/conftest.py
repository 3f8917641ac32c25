import pytest

from seqrl_jax.results.store import CERTIFIED, Cell


@pytest.fixture(scope="session")
def make_cell():
    """A made-up cell: certified values 0, .25, .5, 1 and 1.2, three seeds."""

    def make_cell(**changes):
        ends = dict(zip(CERTIFIED, (0.0, 0.25, 0.5, 1.0, 1.2), strict=True))
        fields = {
            "suite": "test",
            "task": "tmaze:length=10",
            "agent": "ppo",
            "marked_wrong": False,
            "memoryless": True,
            "fingerprint": "0123456789abcdef",
            "certified": {name: {"lower": end, "upper": end, "method": "by hand"} for name, end in ends.items()},
            "config": {"learning_rate": 0.1, "weight": "reward_to_go"},
            "seeds": [0, 1, 2],
            "steps": [0, 100],
            "curve": [[0.0, 0.0, 0.0], [0.2, 0.3, 0.4]],
            "scores": [0.2, 0.3, 0.4],
            "standard_errors": [0.0, 0.0, 0.0],
            "evaluation": "exact",
            "compile_seconds": 1.5,
            "run_seconds": 2.5,
            "row": 16,
            "versions": {"jax": "0.10.2"},
            "device": "2 CPU cores",
            "commit": None,
            "created": "2026-01-01T00:00:00+00:00",
        }
        return Cell(**{**fields, **changes})

    return make_cell
