"""The backbones by name. A new backbone is one class and one line here."""

from __future__ import annotations

from seqrl_jax.memory.attention import Transformer
from seqrl_jax.memory.base import Memory
from seqrl_jax.memory.feedforward import FeedForward, Table
from seqrl_jax.memory.linear import LRU, LinearAttention, MinGRU
from seqrl_jax.memory.recurrent import GRU, LSTM
from seqrl_jax.memory.window import Window

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
}


def memory_name(memory: Memory) -> str:
    """The name under which this kind of memory stands in `MEMORIES`, or its class's name."""
    return next((name for name, kind in MEMORIES.items() if type(memory) is kind), type(memory).__name__)
