"""`python -m seqrl_jax` is `seqrl`."""

import sys

from seqrl_jax.cli import program

sys.exit(program())
