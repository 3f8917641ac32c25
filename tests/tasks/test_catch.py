"""Catch without the ball: bsuite's rules, and what memory is worth."""

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.tasks.build import build, ends, goes, uniform
from seqrl_jax.tasks.catch import CatchState
from seqrl_jax.tasks.environments import environment


@pytest.mark.parametrize(("rows", "columns", "visible"), [(6, 5, 5), (6, 4, 2)])
def test_every_step_is_that_of_gymnax_but_for_the_hidden_ball(rows, columns, visible):
    ours = environment(f"memory_catch:rows={rows},columns={columns},visible={visible}")
    theirs, params = gymnax.make("Catch-bsuite", rows=rows, columns=columns)
    step = jax.jit(lambda state, action: ours.env.step(jax.random.key(0), state, action, ours.params))
    rng, balls = np.random.default_rng(3000), set()
    with jax.numpy_dtype_promotion("standard"):
        for number in range(12):
            board, state = theirs.reset_env(jax.random.key(number), params)
            first, begun = ours.env.reset(jax.random.key(number), ours.params)
            balls.add(int(begun.ball))
            assert int(begun.paddle) == int(state.paddle_x) and int(begun.row) == 0
            np.testing.assert_array_equal(first[0], np.eye(columns)[int(begun.ball)])
            own = CatchState(jnp.int32(state.ball_x), jnp.int32(state.paddle_x), jnp.int32(0))
            for t in range(1, rows):
                action = int(rng.integers(3))
                board, state, reward, _, _ = theirs.step_env(jax.random.key(0), state, action, params)
                after = step(own, jnp.int32(action))
                own = after.state
                board = np.array(board)
                if t >= visible:
                    board[t, int(state.ball_x)] = t == rows - 1 and state.ball_x == state.paddle_x
                np.testing.assert_array_equal(after.obs, board)
                assert float(after.reward) == float(reward)
                assert bool(after.terminated) == (t == rows - 1) == bool(theirs.is_terminated(state, params))
    assert len(balls) > 2


def table(rows, columns, visible):
    """The same game cell by cell: states are (ball, paddle, row)."""
    seen = lambda ball, row: f"{ball}_{row}" if row < visible else "gone"

    def step(state, action):
        ball, paddle, row = state
        paddle = min(max(paddle + {"left": -1, "stay": 0, "right": 1}[action], 0), columns - 1)
        return ends(1.0 if ball == paddle else -1.0) if row + 2 == rows else goes((ball, paddle, row + 1))

    states = [(b, p, r) for b in range(columns) for p in range(columns) for r in range(rows - 1)]
    show = lambda state: f"paddle_{state[1]}_ball_{seen(state[0], state[2])}"
    return build(
        name="twin",
        states=states,
        actions=["left", "stay", "right"],
        observations=list(dict.fromkeys(map(show, states))),
        start=uniform((ball, columns // 2, 0) for ball in range(columns)),
        step=step,
        observe=show,
        discount=1.0,
        horizon=rows - 1,
    )


def test_the_exact_solver_finds_the_certified_values(best_values):
    memoryless, history = best_values(table(rows=3, columns=5, visible=1))
    certified = environment("memory_catch:rows=3,columns=5,visible=1").certified
    assert history.lower == pytest.approx(certified["history"].lower, abs=1e-9)
    assert memoryless == pytest.approx(certified["memoryless_stochastic"].upper, abs=1e-6)


@pytest.mark.parametrize("spec", ["", ":visible=2", ":rows=30,columns=41,visible=4", ":rows=4,columns=9,visible=1"])
def test_who_recalls_the_ball_and_who_moves_while_it_is_seen_earn_what_is_certified(spec):
    """Every column once, so that both are exact."""
    ready = environment(f"memory_catch{spec}")
    env = ready.env

    def episode(ball, moves):
        state = CatchState(ball, jnp.int32(env.columns // 2), jnp.int32(0))
        toward = lambda state: 1 + jnp.sign(state.ball - state.paddle)

        def step(state, t):
            after = env.step(jax.random.key(0), state, jnp.where(t < moves, toward(state), 1), ready.params)
            return after.state, after.reward

        return jax.lax.scan(step, state, jnp.arange(env.longest))[1].sum()

    for name, moves in (("history", env.longest), ("memoryless_stochastic", env.visible)):
        earned = jax.vmap(lambda ball, moves=moves: episode(ball, moves))(jnp.arange(env.columns))
        assert ready.certified[name].lower == pytest.approx(float(earned.mean()), abs=1e-6)


def test_every_column_is_as_likely():
    env = environment("memory_catch").env
    balls = jax.vmap(lambda key: env.reset(key, ())[1].ball)(jax.random.split(jax.random.key(3000), 10_000))
    np.testing.assert_allclose(np.bincount(np.asarray(balls), minlength=5) / 10_000, 0.2, atol=5 * 0.4 / 100)


def test_a_ball_that_is_seen_to_the_end_and_an_empty_board_are_refused():
    with pytest.raises(ValueError, match="visible is 10 and rows is 10: no move is made in the last row"):
        environment("memory_catch:visible=10")
    with pytest.raises(ValueError, match="columns is 1, expected a whole number >= 2"):
        environment("memory_catch:columns=1")
