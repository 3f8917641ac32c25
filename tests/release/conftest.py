from pathlib import Path

import msgspec
import pytest

from seqrl_jax.release import Tuned, release
from seqrl_jax.report.sections import sections
from seqrl_jax.results import store
from seqrl_jax.tracks.registry import TRACKS

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.fixture(scope="session")
def records():
    """Of two tracks; one score of them lies above its bound by luck, and one by rounding."""
    recorded = [record for name in ("dialogue_longer", "exploration") for record in store.read(RESULTS / name)[0]]
    sampled = [index for index, record in enumerate(recorded) if record.bounded_by and all(record.episodes)]
    for index, excess in zip(sampled, (1e-3, 1e-12)):
        recorded[index] = above(recorded[index], excess)
    return recorded


def above(record, excess):
    """The same, with every seed's score beyond what it cannot pass."""
    bound = min(record.bounds[name].upper for name in record.bounded_by)
    scores = {"return": [bound + excess] * len(record.seeds)}
    return msgspec.structs.replace(record, metrics=record.metrics | scores)


@pytest.fixture(scope="session")
def in_sections():
    """Records as the sections of their tracks."""

    def in_sections(records):
        found, unknown = sections(records, TRACKS)
        assert not unknown
        return found

    return in_sections


@pytest.fixture(scope="session")
def written(records, in_sections, tmp_path_factory):
    """A release that nobody changes, by two people."""
    directory = tmp_path_factory.mktemp("release") / "made"
    release(in_sections(records), directory, ("Ada", "Bo"), Tuned({("pomdp", "drqn")}, (2000, 2001, 2002)))
    return directory
