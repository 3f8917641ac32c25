"""Language as one step of reinforcement learning: models, tasks with a known best trade, and the methods that align."""

from seqrl_jax.lm.base import token_distribution, token_log_probs
from seqrl_jax.lm.evaluation import Judge, judge
from seqrl_jax.lm.labels import Labeller
from seqrl_jax.lm.method import Method
from seqrl_jax.lm.policy_gradient import PolicyGradient
from seqrl_jax.lm.preference import Preference
from seqrl_jax.lm.registry import METHODS, make_method, make_model
from seqrl_jax.lm.reward_model import RewardModel
from seqrl_jax.lm.rlhf import RLHF
from seqrl_jax.lm.sampling import sample
from seqrl_jax.lm.sft import Supervised
from seqrl_jax.lm.tasks import TASKS, LMTask, make_task
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.rnn import RNN

__all__ = [
    "GPT",
    "METHODS",
    "RLHF",
    "RNN",
    "TASKS",
    "Judge",
    "LMTask",
    "Labeller",
    "LanguageModel",
    "Method",
    "PolicyGradient",
    "Preference",
    "RewardModel",
    "Supervised",
    "judge",
    "make_method",
    "make_model",
    "make_task",
    "sample",
    "token_distribution",
    "token_log_probs",
]
