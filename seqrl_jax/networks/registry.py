"""The memories by name. A new memory is one class and one line here."""

from __future__ import annotations

from seqrl_jax.networks.attention import Transformer
from seqrl_jax.networks.base import Memory
from seqrl_jax.networks.feedforward import FeedForward, Table
from seqrl_jax.networks.latent import Latent
from seqrl_jax.networks.linear import LRU, LinearAttention, MinGRU
from seqrl_jax.networks.recurrent import GRU, LSTM
from seqrl_jax.networks.window import Window

MEMORIES: dict[str, type[Memory]] = {
    "table": Table,
    "none": FeedForward,
    "window": Window,
    "gru": GRU,
    "lstm": LSTM,
    "lru": LRU,
    "mingru": MinGRU,
    "linear_attention": LinearAttention,
    "transformer": Transformer,
    "latent": Latent,
}


def memory_name(memory: Memory) -> str:
    """The name under which this kind of memory stands in `MEMORIES`, or its class's name."""
    return next((name for name, kind in MEMORIES.items() if type(memory) is kind), type(memory).__name__)
