"""The memories by name. A new memory is one class and one line here."""

from __future__ import annotations

from seqrl_jax.networks.attention import Transformer
from seqrl_jax.networks.base import Memory
from seqrl_jax.networks.bistable import BMRU
from seqrl_jax.networks.feedforward import FeedForward, Table
from seqrl_jax.networks.ffm import FFM
from seqrl_jax.networks.gated_deltanet import GatedDeltaNet
from seqrl_jax.networks.gtrxl import GTrXL
from seqrl_jax.networks.latent import Latent
from seqrl_jax.networks.linear import LRU, MinGRU
from seqrl_jax.networks.linear_attention import LinearAttention
from seqrl_jax.networks.mamba2 import Mamba2
from seqrl_jax.networks.mlstm import MLSTM
from seqrl_jax.networks.recurrent import GRU, LSTM, NBRC
from seqrl_jax.networks.s5 import S5
from seqrl_jax.networks.window import Window

MEMORIES: dict[str, type[Memory]] = {
    "table": Table,
    "none": FeedForward,
    "window": Window,
    "gru": GRU,
    "lstm": LSTM,
    "nbrc": NBRC,
    "lru": LRU,
    "s5": S5,
    "ffm": FFM,
    "mingru": MinGRU,
    "bmru": BMRU,
    "linear_attention": LinearAttention,
    "mamba2": Mamba2,
    "gated_deltanet": GatedDeltaNet,
    "mlstm": MLSTM,
    "transformer": Transformer,
    "gtrxl": GTrXL,
    "latent": Latent,
}


def memory_name(memory: Memory) -> str:
    """The name under which this kind of memory stands in `MEMORIES`, or its class's name."""
    return next((name for name, kind in MEMORIES.items() if type(memory) is kind), type(memory).__name__)
