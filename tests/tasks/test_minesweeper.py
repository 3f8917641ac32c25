"""Minesweeper: its rules, against a plain game and POPGym's, and what the best play is worth."""

from functools import cache
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from seqrl_jax.exact.bounds import history_interval
from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.tasks.environments import environment, table
from seqrl_jax.tasks.minesweeper import MINE, UNDECIDED, best_value, memoryless_value
from seqrl_jax.tracks.environments import ANY


def member(rows, columns, mines):
    return environment(f"minesweeper:rows={rows},columns={columns},mines={mines}")


def plain(columns, mines, cells, opened, cell):
    """A plain game: what opening a cell pays and shows, when these are open."""
    safe = cells - len(mines)
    if cell in mines:
        return -0.5 - 1 / safe, "mine"
    row, column = divmod(cell, columns)
    count = sum(abs(mine // columns - row) <= 1 and abs(mine % columns - column) <= 1 for mine in mines)
    return (-0.5 / (safe - 2) if cell in opened else 1 / safe), count


def searched(rows, columns, mines):
    """The best value and the best cell, (boards that are left, open cells, steps left) -> both, by a plain search over
    histories in which every cell may be opened at every step."""
    cells = rows * columns

    @cache
    def best(boards, opened, left):
        return max((value(boards, opened, left, cell), -cell) for cell in range(cells)) if left else (0.0, 0)

    def value(boards, opened, left, cell):
        alike, total = {}, 0.0
        for board in boards:
            paid, shown = plain(columns, board, cells, opened, cell)
            total += paid
            if shown != "mine":
                alike.setdefault(shown, []).append(board)
        for some in alike.values():
            total += len(some) * best(tuple(some), opened | {cell}, left - 1)[0]
        return total / len(boards)

    return best, tuple(combinations(range(cells), mines))


@pytest.mark.parametrize(
    ("rows", "columns", "mines"), [(2, 2, 1), (1, 5, 2), (2, 3, 1), (2, 3, 2), (1, 7, 3), (2, 4, 4)]
)
def test_the_certified_value_is_that_of_a_search_over_histories(rows, columns, mines):
    best, boards = searched(rows, columns, mines)
    certified = member(rows, columns, mines).certified["history"]
    expected = best(boards, frozenset(), rows * columns - mines)[0]
    assert certified.lower == certified.upper == pytest.approx(expected, abs=1e-12)


def test_who_plays_as_the_search_says_earns_the_certified_value():
    """The mean of 1,000 episodes within 5 standard errors."""
    best, boards = searched(2, 3, 2)
    ready = member(2, 3, 2)
    step = jax.jit(lambda state, key, action: ready.env.step(key, state, action, ready.params)[:4])
    earned, (_, begun) = [], ready.env.reset(jax.random.key(0), ready.params)
    keys = jax.random.split(jax.random.key(3000), (1000, 4))
    for episode in range(1000):
        state, left, opened, total = begun, boards, frozenset(), 0.0
        for t in range(4):
            cell = -best(left, opened, 4 - t)[1]
            obs, state, reward, done = step(state, keys[episode, t], cell)
            total += float(reward)
            if done:
                break
            left = tuple(board for board in left if plain(3, board, 6, opened, cell)[1] == int(obs))
            opened |= {cell}
        earned.append(total)
    certified = ready.certified["history"]
    assert np.mean(earned) == pytest.approx(certified.lower, abs=5 * np.std(earned) / 1000**0.5)
    assert certified.lower > ready.certified["memoryless_stochastic"].lower


def test_the_exact_solver_finds_the_certified_values(best_values):
    ready = member(2, 2, 1)
    memoryless, history = best_values(ready.table())
    certified = ready.certified
    assert history.lower == pytest.approx(certified["history"].lower, abs=1e-9)
    assert certified["memoryless_stochastic"].lower == certified["memoryless_stochastic"].upper
    assert memoryless == pytest.approx(certified["memoryless_stochastic"].lower, abs=1e-6)


@pytest.mark.parametrize(("rows", "columns", "mines"), [(2, 2, 1), (1, 5, 2), (2, 3, 2)])
def test_a_small_game_as_a_table_is_the_same_game(rows, columns, mines):
    """For who remembers, and for 200 who see the last number alone."""
    ready = member(rows, columns, mines)
    task, numbers = ready.table(), ready.env.exploded
    history, _ = history_interval(task)
    assert history.lower == pytest.approx(ready.certified["history"].lower, abs=1e-9)
    for policy in np.random.default_rng(3000).dirichlet(np.full(rows * columns, 0.3), (200, numbers)):
        ended = np.full((task.num_observations - numbers, rows * columns), 1 / (rows * columns))
        value = float(evaluate_memoryless(task, np.concatenate([policy, ended])))
        assert value == pytest.approx(memoryless_value(ready.env, policy), abs=1e-9)
        assert value <= ready.certified["memoryless_stochastic"].upper + 1e-9


def test_what_no_memory_earns_on_a_small_board_is_bounded_below_what_memory_does(tmp_path, monkeypatch):
    """One row of four cells: 300 policies of the last number earn no more, a block of cells less."""
    monkeypatch.setenv("SEQRL_CACHE", str(tmp_path))
    spec = "minesweeper:rows=1,columns=4,mines=1"
    (problem,) = ANY.problems([spec])
    memoryless, history = problem.bounds["memoryless_stochastic"], problem.bounds["history"]
    certified = problem.ready.certified
    assert history.lower == pytest.approx(certified["history"].lower, abs=1e-6)
    assert certified["memoryless_stochastic"].lower < memoryless.lower <= memoryless.upper < history.lower - 0.5
    assert memoryless.is_exact
    rng, env = np.random.default_rng(3000), problem.ready.env
    policies = [rng.dirichlet(np.full(4, size), env.exploded) for size in 10 ** rng.uniform(-1, 1, 300)]
    assert max(memoryless_value(env, policy) for policy in policies) <= memoryless.upper + 1e-9


def test_a_small_board_is_solved_by_its_name_and_a_large_one_is_none():
    assert table("minesweeper:rows=2,columns=3,mines=1").name == "minesweeper:rows=2,columns=3,mines=1"
    for spec in ("minesweeper", "minesweeper:rows=2,columns=2,mines=1,flicker=0.5"):
        assert environment(spec).table is None
        with pytest.raises(ValueError, match="is an environment, and no table that could be solved"):
            table(spec)


@pytest.mark.parametrize(("rows", "columns", "mines"), [(3, 4, 4), (2, 6, 3), (1, 26, 1)])
def test_the_best_value_lies_between_the_bounds_of_larger_boards(rows, columns, mines, monkeypatch):
    """Of a line with one mine it is the upper one: from an end on, every number says what the next cell is."""
    monkeypatch.setattr("seqrl_jax.tasks.minesweeper.EXACT_BOARDS", 0)
    ready = member(rows, columns, mines)
    bounds = ready.certified["history"]
    assert bounds.lower < best_value(ready.env) <= bounds.upper + 1e-12
    assert ready.certified["memoryless_stochastic"].lower < bounds.lower


def test_the_lower_end_of_larger_boards_is_the_mean_over_all_boards(monkeypatch):
    """Of the best number of cells that are opened in order, the last of them to the end."""
    monkeypatch.setattr("seqrl_jax.tasks.minesweeper.EXACT_BOARDS", 0)
    boards = list(combinations(range(12), 3))

    def earned(board, last):
        total = 0.0
        for t in range(9):
            paid, shown = plain(4, board, 12, set(range(min(t, last + 1))), min(t, last))
            total += paid
            if shown == "mine":
                break
        return total

    means = [np.mean([earned(board, last) for board in boards]) for last in range(9)]
    assert member(3, 4, 3).certified["history"].lower == pytest.approx(max(means), abs=1e-12)
    assert 0 < np.argmax(means) < 8


def test_every_step_is_that_of_the_plain_game():
    """Where mines are is decided on the way, and never again."""
    ready = member(3, 4, 2)
    env = ready.env
    step = jax.jit(lambda key, state, action: env.step(key, state, action, ready.params))
    rng, seen, lasted = np.random.default_rng(3000), set(), 0
    for episode in range(60):
        key = jax.random.key(episode)
        obs, state = env.reset(key, ready.params)
        assert int(obs) == 0
        before, played = np.asarray(state.ground), []
        for t in range(env.longest):
            action = int(rng.integers(12))
            after = step(jax.random.fold_in(key, t), state, jnp.int32(action))
            ground, state = np.asarray(after.state.ground), after.state
            np.testing.assert_array_equal(ground[before != UNDECIDED], before[before != UNDECIDED])
            before = ground
            played.append((action, int(after.obs), float(after.reward), bool(after.terminated)))
            assert not after.truncated
            if after.terminated:
                break
        mines = set(np.flatnonzero(ground[1:-1, 1:-1] == MINE).tolist())
        missing = [cell for cell in np.flatnonzero(ground[1:-1, 1:-1] == UNDECIDED).tolist()][: 2 - len(mines)]
        mines, opened = mines | set(missing), set()
        assert len(mines) == 2
        for t, (action, obs, reward, terminated) in enumerate(played):
            paid, shown = plain(4, mines, 12, opened, action)
            assert obs == (3 if shown == "mine" else shown)
            assert reward == pytest.approx(paid, abs=1e-6)
            assert terminated == (shown == "mine" or t == 9)
            opened.add(action)
            seen.add(shown)
        lasted += len(played) == 10
    assert seen == {0, 1, 2, "mine"} and lasted > 0


@pytest.mark.parametrize("order", [range(6), (4, 0, 5, 2, 1, 3)])
def test_mines_lie_anywhere(order):
    """Opened in any order, all 15 boards are as likely (chi-squared, false alarm 1e-6)."""
    env = member(2, 3, 2).env

    def one(key):
        def opened(state, at):
            key, cell = at
            return env.step(key, state, cell, ()).state, None

        steps = jax.random.split(key, 6), jnp.array(order)
        return jax.lax.scan(opened, env.reset(key, ())[1], steps)[0].ground[1:-1, 1:-1].ravel()

    boards = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3000), 15_000)))
    assert (boards.sum(1) == 2).all() and boards.min() == 0
    _, counts = np.unique(boards, axis=0, return_counts=True)
    assert len(counts) == 15 and np.sum((counts - 1000.0) ** 2 / 1000.0) < chi2.isf(1e-6, 14)


def returns(ready, policy, episodes):
    """[episodes] of a policy (key, episode, t, number that is shown) -> cell."""
    env = ready.env

    def one(key, episode):
        obs, state = env.reset(key, ready.params)

        def step(carry, t):
            obs, state, on = carry
            act, move = jax.random.split(jax.random.fold_in(key, t))
            after = env.step(move, state, policy(act, episode, t, obs), ready.params)
            return (after.obs, after.state, on & ~after.terminated), jnp.where(on, after.reward, 0.0)

        return jax.lax.scan(step, (obs, state, jnp.bool_(True)), jnp.arange(env.longest))[1].sum()

    keys = jax.random.split(jax.random.key(3001), episodes)
    return np.asarray(jax.jit(jax.vmap(one))(keys, jnp.arange(episodes)), np.float64)


def test_any_cell_at_every_step_earns_the_lower_end_of_what_no_memory_earns():
    """The mean of 8,000 episodes within 5 standard errors."""
    ready = member(3, 7, 5)
    earned = returns(ready, lambda key, episode, t, obs: jax.random.randint(key, (), 0, 21), 8000)
    lower = ready.certified["memoryless_stochastic"].lower
    assert earned.mean() == pytest.approx(lower, abs=5 * earned.std() / 8000**0.5)


def test_a_block_behind_0_and_the_rest_behind_other_numbers_earns_the_lower_end_of_a_small_board():
    """The mean of 8,000 episodes within 5 standard errors; any cell earns less."""
    ready = member(4, 4, 2)
    certified = ready.certified["memoryless_stochastic"]
    assert certified.how.startswith("lower: 2 x 3 cells")
    inside = jnp.asarray([cell // 4 < 2 and cell % 4 < 3 for cell in range(16)])
    logits = jnp.where(jnp.stack([inside, ~inside]), 0.0, -jnp.inf)
    earned = returns(ready, lambda key, episode, t, obs: jax.random.categorical(key, logits[jnp.minimum(obs, 1)]), 8000)
    assert earned.mean() == pytest.approx(certified.lower, abs=5 * earned.std() / 8000**0.5)
    anywhere = np.full((3, 16), 1 / 16)
    assert memoryless_value(ready.env, anywhere) < certified.lower


@pytest.mark.parametrize(("rows", "columns", "mines"), [(2, 3, 2), (1, 6, 2), (3, 4, 1)])
def test_no_policy_of_the_last_number_earns_more_than_is_certified(rows, columns, mines, monkeypatch):
    """Of 300, each evaluated exactly; any cell at every step earns less than the lower end, and what larger boards'
    closed form says."""
    ready, cells = member(rows, columns, mines), rows * columns
    certified = ready.certified["memoryless_stochastic"]
    rng = np.random.default_rng(3000)
    policies = [rng.dirichlet(np.full(cells, size), ready.env.exploded) for size in 10 ** rng.uniform(-1, 1, 300)]
    assert max(memoryless_value(ready.env, policy) for policy in policies) <= certified.upper + 1e-9
    anywhere = memoryless_value(ready.env, np.full((ready.env.exploded, cells), 1 / cells))
    assert anywhere < certified.lower
    monkeypatch.setattr("seqrl_jax.tasks.minesweeper.EXACT_BOARDS", 0)
    assert anywhere == pytest.approx(member(rows, columns, mines).certified["memoryless_stochastic"].lower, abs=1e-12)


def test_some_cells_in_any_order_earn_the_lower_end_of_a_large_board():
    """Of all numbers of cells, 2,000 episodes each, the best one, within 5 standard errors; no other earns more."""
    ready = member(5, 5, 3)
    order, numbers = jnp.asarray(np.random.default_rng(3000).permutation(25)), ready.env.longest
    policy = lambda key, episode, t, obs: order[jnp.minimum(t, episode % numbers)]
    earned = returns(ready, policy, 2000 * numbers).reshape(2000, numbers)
    means, errors = earned.mean(0), earned.std(0) / 2000**0.5
    lower, best = ready.certified["history"].lower, means.argmax()
    assert (means <= lower + 5 * errors).all()
    assert means[best] == pytest.approx(lower, abs=5 * errors[best])
    assert means.min() < lower - 5 * errors.max()


@pytest.mark.parametrize(("theirs", "size"), [("Easy", (4, 4, 2)), ("Medium", (6, 6, 6)), ("Hard", (8, 8, 10))])
def test_on_the_same_board_every_step_is_that_of_popgym(theirs, size):
    """But for what is shown of a mine, behind which nothing follows, and for what the end is called."""
    popgym = pytest.importorskip("popgym.envs")
    other, ready = getattr(popgym, f"MineSweeper{theirs}")(), member(*size)
    env, rng, lengths = ready.env, np.random.default_rng(3000), []
    step = jax.jit(lambda state, action: env.step(jax.random.key(0), state, action, ready.params))
    for episode in range(20):
        seen, _ = other.reset(seed=episode)
        obs, state = env.reset(jax.random.key(episode), ready.params)
        assert int(obs) == seen
        mines = np.asarray(other.hidden_grid == 1)
        state = state._replace(ground=jnp.pad(jnp.asarray(mines, jnp.int8), 1))
        # Mostly cells without a mine, so that episodes last.
        safe = rng.permutation(np.flatnonzero(~mines.ravel()))
        for t in range(env.longest):
            careful = episode % 2 == 0 or rng.random() < 0.8
            action = int(safe[t]) if careful else int(rng.integers(env.cells))
            after = step(state, jnp.int32(action))
            seen, reward, terminated, truncated, _ = other.step(divmod(action, env.columns))
            assert float(after.reward) == pytest.approx(reward, abs=1e-6)
            assert bool(after.terminated) == (terminated or truncated)
            assert int(after.obs) == (env.exploded if mines.ravel()[action] else seen)
            state = after.state
            if after.terminated:
                break
        lengths.append(t + 1)
    assert max(lengths) == env.longest > min(lengths)


def test_impossible_boards_are_refused():
    with pytest.raises(ValueError, match="rows is 2 and columns is 2 and mines is 2: fewer than three cells have no m"):
        member(2, 2, 2)
    with pytest.raises(ValueError, match="mines is 0, expected a whole number >= 1"):
        environment("minesweeper:mines=0")
