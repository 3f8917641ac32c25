"""Networks, as flax modules: encoders of what is seen, memories of what was seen, language models."""

from seqrl_jax.networks.attention import Transformer
from seqrl_jax.networks.base import Memory
from seqrl_jax.networks.bistable import BMRU
from seqrl_jax.networks.encoders import Encoder
from seqrl_jax.networks.experience import Experience, StepInput
from seqrl_jax.networks.feedforward import FeedForward, Table
from seqrl_jax.networks.ffm import FFM
from seqrl_jax.networks.gated_deltanet import GatedDeltaNet
from seqrl_jax.networks.gtrxl import GTrXL
from seqrl_jax.networks.latent import Latent
from seqrl_jax.networks.linear import LRU, MinGRU
from seqrl_jax.networks.linear_attention import LinearAttention
from seqrl_jax.networks.mamba2 import Mamba2
from seqrl_jax.networks.mlstm import MLSTM
from seqrl_jax.networks.module import Weights
from seqrl_jax.networks.recurrent import GRU, LSTM, NBRC
from seqrl_jax.networks.registry import MEMORIES, memory_name
from seqrl_jax.networks.s5 import S5
from seqrl_jax.networks.window import Window

__all__ = [
    "BMRU",
    "FFM",
    "GRU",
    "LRU",
    "LSTM",
    "MEMORIES",
    "MLSTM",
    "NBRC",
    "S5",
    "Encoder",
    "Experience",
    "FeedForward",
    "GTrXL",
    "GatedDeltaNet",
    "Latent",
    "LinearAttention",
    "Mamba2",
    "Memory",
    "MinGRU",
    "StepInput",
    "Table",
    "Transformer",
    "Weights",
    "Window",
    "memory_name",
]
