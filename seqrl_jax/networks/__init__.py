"""Networks, as flax modules: encoders of what is seen, memories of what was seen, language models."""

from seqrl_jax.networks.attention import Transformer
from seqrl_jax.networks.base import Memory
from seqrl_jax.networks.encoders import Encoder
from seqrl_jax.networks.experience import Experience, StepInput
from seqrl_jax.networks.feedforward import FeedForward, Table
from seqrl_jax.networks.latent import Latent
from seqrl_jax.networks.linear import LRU, LinearAttention, MinGRU
from seqrl_jax.networks.module import Weights
from seqrl_jax.networks.recurrent import GRU, LSTM
from seqrl_jax.networks.registry import MEMORIES, memory_name
from seqrl_jax.networks.window import Window

__all__ = [
    "GRU",
    "LRU",
    "LSTM",
    "MEMORIES",
    "Encoder",
    "Experience",
    "FeedForward",
    "Latent",
    "LinearAttention",
    "Memory",
    "MinGRU",
    "StepInput",
    "Table",
    "Transformer",
    "Weights",
    "Window",
    "memory_name",
]
