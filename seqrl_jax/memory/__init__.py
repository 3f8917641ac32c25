"""Sequence backbones: what an agent keeps of the observations before this one."""

from seqrl_jax.memory.attention import Transformer
from seqrl_jax.memory.base import Block, Memory, dense
from seqrl_jax.memory.feedforward import FeedForward, Table
from seqrl_jax.memory.linear import LRU, LinearAttention, MinGRU
from seqrl_jax.memory.recurrent import GRU, LSTM
from seqrl_jax.memory.registry import MEMORIES, memory_name
from seqrl_jax.memory.window import Window

__all__ = [
    "GRU",
    "LRU",
    "LSTM",
    "MEMORIES",
    "Block",
    "FeedForward",
    "LinearAttention",
    "Memory",
    "MinGRU",
    "Table",
    "Transformer",
    "Window",
    "dense",
    "memory_name",
]
