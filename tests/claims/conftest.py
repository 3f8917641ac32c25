import pytest
from records import made_up


@pytest.fixture(scope="session")
def make_record():
    """A record of three seeds on a task whose values are 0 and 1, with the given fields changed."""
    return made_up
