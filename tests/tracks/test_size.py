import jax
import jax.numpy as jnp
import optax
import pytest

from seqrl_jax.agents.registry import make_agent
from seqrl_jax.dialogue.methods import make_method as make_dialogue_method
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.lm.registry import make_method, make_task_and_model
from seqrl_jax.results.parameters import counted
from seqrl_jax.tasks import make
from seqrl_jax.tasks.simulator import tabular_env, tabular_params
from seqrl_jax.tracks import dialogue, lm
from seqrl_jax.tracks.agents import parameters_in
from seqrl_jax.tracks.base import Budget, plain_loop
from seqrl_jax.tracks.oracles import ORACLES
from seqrl_jax.tracks.pomdp import POMDP
from seqrl_jax.tracks.size import trained

BUDGET = Budget(1000, 1, (0, 1))


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_targets_are_no_more_to_learn_and_every_optimiser_counts():
    weights = {"mu": jnp.zeros((3, 4)), "bias": jnp.zeros(4)}
    chained = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))
    state = {"policy": (weights, chained.init(weights)), "value": optax.adam(0.1).init(jnp.zeros(5)), "target": weights}
    assert trained(state) == 16 + 5 and trained(weights) == 0


def test_an_agent_trains_all_its_weights_and_a_larger_task_has_more():
    ppo, found = make_agent("ppo"), []
    for task in map(make, ("tiger", "tmaze:length=10")):
        env, params = tabular_env(task), tabular_params(task)
        state = ppo.for_run(env.longest, 1000).init(jax.random.key(0), env, params)
        found.append(parameters_in(ppo, env, params, BUDGET))
        assert found[-1] == size(state.train.weights)
    assert found[0] < found[1]


def test_a_task_beside_a_larger_one_counts_as_alone():
    """Their row pads the networks of both to one shape."""
    problems = POMDP.problems(["tiger", "tmaze"], lambda done, total: None)
    beside = POMDP.row("reinforce", problems, BUDGET, plain_loop)
    (alone,) = POMDP.row("reinforce", problems[:1], BUDGET, plain_loop)
    assert [outcome.metrics["parameters"] for outcome in beside] == [[12.0, 12.0], [20.0, 20.0]], (
        "observations x actions"
    )
    assert alone.metrics["parameters"] == [12.0, 12.0]


def test_language_models_of_rounds_count_once():
    task, model = make_task_and_model("keyword")
    of = lambda name: lm.parameters_of(make_method(name), model, task)
    policy = size(jax.eval_shape(model.initial_weights, jax.random.key(0)))
    assert of("sft") == of("dpo") == policy
    assert of("rlhf") == of("rlhf_iterated") > 2 * policy, "a reward model as large, and its head"


def test_a_critic_of_utterances_is_one_more_network():
    game = make_game("negotiation")
    of = lambda name: dialogue.parameters_of(make_dialogue_method(f"{name}:view=utterance"), game)
    assert of("archer") > 1.5 * of("bc") > 0


@pytest.mark.parametrize("track", ["pomdp", "lm", "dialogue"])
def test_what_ships_of_older_records_is_what_agents_train_now(track):
    """On one task each."""
    task = {"pomdp": "tiger", "lm": "keyword", "dialogue": "negotiation"}[track]
    shipped = {method: tasks[task] for method, tasks in counted()[track].items() if task in tasks}
    assert len(shipped) >= 12 and not set(shipped) & set(ORACLES)
    if track == "pomdp":
        env, params = tabular_env(make(task)), tabular_params(make(task))
        now = {method: parameters_in(make_agent(method), env, params, BUDGET) for method in shipped}
    elif track == "lm":
        made, model = make_task_and_model(task)
        now = {method: lm.parameters_of(make_method(method), model, made) for method in list(shipped)[::4]}
    else:
        game = make_game(task)
        now = {name: dialogue.parameters_of(make_dialogue_method(name), game) for name in list(shipped)[::4]}
    assert now == {method: shipped[method] for method in now}
