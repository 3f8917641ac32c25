from pathlib import Path

import pytest

from seqrl_jax.release import Tuned, release
from seqrl_jax.report.sections import sections
from seqrl_jax.results import store
from seqrl_jax.tracks.registry import TRACKS

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.fixture(scope="session")
def records():
    """Of two tracks; one score of them lies above its bound by luck, and one by rounding."""
    return [record for name in ("dialogue_longer", "exploration") for record in store.read(RESULTS / name)[0]]


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
