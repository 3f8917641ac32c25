"""How a team learns: REINFORCE, each agent by the reward that both get.

    grad E[r] = E[r sum_t grad log pi(u_t | h_t)]

The sum is over all that either of them says. As neither's weights enter the other's words, each agent follows the
gradient of the common reward, the other being a part of its world. Source: Williams (1992). Kottur et al. (2017), who
have no baseline, reward failure by -10.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqrl_jax.agents.hyperparameters import hyperparameters
from seqrl_jax.dialogue.cooperative.conversation import Chances, converse, uniform_chances
from seqrl_jax.dialogue.cooperative.team import Team, TeamWeights
from seqrl_jax.dialogue.method import falling_adam
from seqrl_jax.naming import check
from seqrl_jax.settings import Count, PositiveFloat, Several, Weight


def success_advantage(reward: Array) -> Array:
    """`(r_i - mean) / mean` of groups [M, n] of rewards 0 and 1; 0 where nobody succeeds.

    With p the chance of success, `mean_i advantage_i grad log pi_i` has the mean

        (1 + (1 - p) + ... + (1 - p)^(n - 2)) grad p,

    the gradient of -sum_{k < n} (1 - p)^k / k. For n = 2 it is that of p: REINFORCE, with the other member's reward as
    the baseline. As n grows it becomes that of log p: what seldom succeeds counts more than what mostly does. Source:
    "Maximum likelihood reinforcement learning" (2026), arXiv:2602.02710, whose estimator without a baseline has one
    term more.
    """
    mean = reward.mean(1, keepdims=True)
    return jnp.where(mean > 0, (reward - mean) / jnp.where(mean > 0, mean, 1.0), 0.0)


class Training(NamedTuple):
    """The weights of both, the optimiser's state, the key."""

    weights: TeamWeights
    opt_state: optax.OptState
    key: Array


@hyperparameters
class Reinforce:
    """REINFORCE with Adam.

    Attributes:
        learning_rate: of Adam, falling to a tenth over the updates.
        updates: gradient steps. cases: objects, each with a task, in an update; members: dialogues about each of them.
        entropy_cost: weight of the entropies of all that is said, each given what was said before, and as a share of
            what its symbols allow, so that it means the same for many symbols as for few; it falls to 0 over the
            updates. At first nothing but noise is worth saying, and a language grows as the weight falls: too soon
            without it, and symbols are shared by chance.
    """

    learning_rate: PositiveFloat = 0.01
    updates: Count = 20_000
    cases: Count = 64
    members: Several = 8
    entropy_cost: Weight = 0.2

    def __post_init__(self) -> None:
        check(self)

    @property
    def optimiser(self) -> optax.GradientTransformation:
        return falling_adam(self.learning_rate, self.updates)

    def begin(self, team: Team, key: Array) -> Training:
        """Before the first update."""
        key, weights_key = jax.random.split(key)
        weights = team.first_weights(weights_key)
        return Training(weights, self.optimiser.init(weights), key)

    def surrogate(
        self, team: Team, weights: TeamWeights, objects: Array, tasks: Array, chances: Chances
    ) -> tuple[Array, tuple[Array, Array]]:
        """What has the gradient to follow (see `success_advantage`), a mean over cases; and rewards and entropies [B].

        Args: objects: [B, attributes]; tasks: [B]; the members of a group, with the same of both, stand together.
        """
        dialogue = converse(team, weights, objects, tasks, chances)
        reward = team.world.reward(dialogue.guess.symbol, objects, tasks)
        advantage = success_advantage(reward.reshape(-1, self.members)).reshape(-1)
        return jnp.mean(advantage * dialogue.log_prob), (reward, dialogue.entropy)

    def update(self, team: Team, objects: Array, training: Training, left: Array) -> tuple[Training, Array]:
        """One update, and its mean reward. Args: objects: [N, attributes]. left: the share of updates to come."""
        key, object_key, task_key, chances_key = jax.random.split(training.key, 4)
        chosen = jax.random.choice(object_key, objects, (self.cases,))
        tasks = jax.random.randint(task_key, (self.cases,), 0, team.world.num_tasks)
        chosen, tasks = (jnp.repeat(leaf, self.members, 0) for leaf in (chosen, tasks))
        chances = uniform_chances(chances_key, team, len(tasks))

        def loss(weights: TeamWeights) -> tuple[Array, Array]:
            value, (reward, entropy) = self.surrogate(team, weights, chosen, tasks, chances)
            return -value - self.entropy_cost * left * entropy.mean(), reward.mean()

        gradient, reward = jax.grad(loss, has_aux=True)(training.weights)
        change, opt_state = self.optimiser.update(gradient, training.opt_state, training.weights)
        return Training(optax.apply_updates(training.weights, change), opt_state, key), reward

    def train(self, team: Team, objects: Array, key: Array) -> tuple[TeamWeights, Array]:
        """Weights after all updates, and the mean reward of each [updates]. Args: objects: [N, attributes]."""
        left = 1 - jnp.arange(self.updates) / self.updates
        step = lambda training, left: self.update(team, objects, training, left)
        training, rewards = jax.lax.scan(step, self.begin(team, key), left)
        return training.weights, rewards
