import ctypes

import pytest
from processes import by_itself

FREED = """
import resource
import numpy as np
from seqrl_jax.runs.programs import keep_freed_memory

keep_freed_memory()
faults = []
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**25, np.float32)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(faults)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library decides by itself")
def test_memory_that_was_freed_is_used_again():
    """128 MiB are some pages, which are made once."""
    first, *others = by_itself(FREED)
    assert first > 10 * max(others)
