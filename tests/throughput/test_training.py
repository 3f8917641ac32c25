import jax
import numpy as np

from seqrl_jax.agents import make_agent, train
from seqrl_jax.tasks.environments import environment
from seqrl_jax.throughput.training import training


def test_every_run_is_the_whole_training_of_its_key_and_every_step_counts():
    agent, ready = make_agent("reward_to_go"), environment("tiger")
    program = training(agent, ready.env, ready.params, updates=2, runs=3)
    steps = 2 * agent.steps_per_update
    assert program.steps == 3 * steps and program.batch == 3
    key = jax.random.key(4)
    _, metrics = program.run(key)
    _, alone = train(agent, ready.env, ready.params, jax.random.split(key, 3)[1], steps)
    for name, value in alone.items():
        np.testing.assert_allclose(metrics[name][1], value, rtol=1e-4, atol=1e-5)
        assert metrics[name].shape == (3, 2)
