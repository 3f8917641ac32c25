"""Battleship: its rules, against a plain game and POPGym's, and what the best play is worth."""

from collections import Counter
from functools import cache
from itertools import combinations, product
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from seqrl_jax.exact.state import evaluate_memoryless
from seqrl_jax.tasks.battleship import (
    Battleship,
    Fleet,
    board_law,
    fewest_misses,
    largest_chances,
    misses_needed,
    most_blindly,
)
from seqrl_jax.tasks.build import build, ends, goes
from seqrl_jax.tasks.environments import environment


def member(rows, columns, ships):
    return environment(f"battleship:rows={rows},columns={columns},ships={ships}")


def lengths(ships):
    return [int(length) for length in ships.split("+")]


def anchored(rows, columns, length, taken):
    """The free places of a ship, each as often as it is drawn by an end and one of four directions."""
    drawn = []
    for row, column, (down, right) in product(range(rows), range(columns), [(0, 1), (0, -1), (1, 0), (-1, 0)]):
        ship = [(row + i * down, column + i * right) for i in range(length)]
        if all(0 <= r < rows and 0 <= c < columns and (r, c) not in taken for r, c in ship):
            drawn.append(frozenset(ship))
    return drawn


def law(rows, columns, ships):
    """Board -> probability, ship by ship."""
    boards = Counter({frozenset(): 1.0})
    for length in lengths(ships):
        longer = Counter()
        for board, chance in boards.items():
            drawn = anchored(rows, columns, length, board)
            for ship in drawn:
                longer[board | ship] += chance / len(drawn)
        boards = longer
    return {frozenset(r * columns + c for r, c in board): chance for board, chance in boards.items()}


def plain(board, cells, shot, cell):
    """A plain game: what a shot pays and shows, when these cells were shot at."""
    hit = cell in board and cell not in shot
    return (1 / len(board) if hit else -1 / (cells - len(board))), int(hit)


def searched(rows, columns, ships):
    """The best value, by a plain search over histories in which every cell may be shot at, at every step."""
    cells, chances = rows * columns, law(rows, columns, ships)

    @cache
    def best(boards, shot, left):
        if not left or boards[0] <= shot:
            return 0.0
        return max(value(boards, shot, left, cell) for cell in range(cells))

    def value(boards, shot, left, cell):
        alike, total = {}, 0.0
        for board in boards:
            paid, shown = plain(board, cells, shot, cell)
            total += chances[board] * paid
            alike.setdefault(shown, []).append(board)
        for some in alike.values():
            total += sum(chances[board] for board in some) * best(tuple(some), shot | {cell}, left - 1)
        return total / sum(chances[board] for board in boards)

    return best(tuple(chances), frozenset(), cells)


SMALL = [(2, 2, "2"), (2, 3, "2"), (2, 4, "2"), (2, 4, "2+2"), (3, 3, "2+3")]


@pytest.mark.parametrize(("rows", "columns", "ships"), SMALL)
def test_the_certified_value_is_that_of_a_search_over_histories(rows, columns, ships):
    certified = member(rows, columns, ships).certified["history"]
    assert certified.lower == certified.upper == pytest.approx(searched(rows, columns, ships), abs=1e-12)


def test_the_exact_solver_finds_the_certified_values(best_values):
    """Of the twin whose states are the board, where was shot and what was shown last."""
    chances = law(2, 2, "2")

    def step(state, action):
        board, shot, _ = state
        paid, shown = plain(board, 4, shot, int(action))
        after = shot | {int(action)}
        return ends(paid) if board <= after else goes((board, after, shown), paid)

    subsets = [frozenset(some) for size in range(5) for some in combinations(range(4), size)]
    twin = build(
        name="twin",
        states=list(product(chances, subsets, (0, 1))),
        actions=[str(cell) for cell in range(4)],
        observations=["0", "1"],
        start={(board, frozenset(), 0): chance for board, chance in chances.items()},
        step=step,
        observe=lambda state: str(state[2]),
        discount=1.0,
        horizon=4,
    )
    memoryless, history = best_values(twin)
    certified = member(2, 2, "2").certified
    anywhere = float(evaluate_memoryless(twin, np.full((twin.num_observations, 4), 1 / 4)))
    assert history.lower == pytest.approx(certified["history"].lower, abs=1e-9)
    assert anywhere == pytest.approx(certified["memoryless_stochastic"].lower, abs=1e-9)
    assert anywhere <= memoryless <= certified["memoryless_stochastic"].upper + 1e-9


@pytest.mark.parametrize(("rows", "columns", "ships"), [(3, 5, "2"), (4, 4, "2"), (2, 7, "2+2")])
def test_the_best_value_lies_between_the_bounds_of_larger_boards(rows, columns, ships):
    ready = member(rows, columns, ships)
    bounds = ready.certified["history"]
    assert bounds.lower < 1 - ready.env.miss * fewest_misses(ready.env) < bounds.upper
    assert ready.certified["memoryless_stochastic"].lower < bounds.lower


@pytest.mark.parametrize(("rows", "columns", "ships"), [*SMALL, (3, 4, "2+3"), (2, 6, "2+2")])
def test_no_fewer_misses_are_expected_than_are_needed(rows, columns, ships):
    env = member(rows, columns, ships).env
    assert 0 < misses_needed(env) <= fewest_misses(env)


@pytest.mark.parametrize("ships", ["2", "2+3", "2+3+3"])
def test_no_cell_holds_a_ship_with_a_higher_probability_than_is_promised(ships, monkeypatch):
    chances = law(4, 5, ships)
    exact = [sum(chance for board, chance in chances.items() if cell in board) for cell in range(20)]
    env = member(4, 5, ships).env
    np.testing.assert_allclose(largest_chances(env), exact, atol=1e-12)
    monkeypatch.setattr("seqrl_jax.tasks.battleship.LAW_BOARDS", 0)
    assert (largest_chances(env) >= np.array(exact) - 1e-12).all()


def memoryless_values(rows, columns, ships, missed, hit):
    """What policies earn, exactly, that draw from `missed` [policies, cells] behind a miss and from `hit` behind a hit:
    [policies], by induction over steps on every board."""
    cells, total = rows * columns, np.zeros(len(missed))
    for board, chance in law(rows, columns, ships).items():
        targets, everything = sorted(board), (1 << len(board)) - 1
        now = {(0, 0): np.full(len(missed), chance)}
        for _ in range(cells):
            then = {}
            for (hits, shown), mass in now.items():
                drawn, wasted = (missed, hit)[shown], mass.copy()
                for number, cell in enumerate(targets):
                    if not hits >> number & 1:
                        found = mass * drawn[:, cell]
                        total, wasted = total + found / len(board), wasted - found
                        after = hits | 1 << number, 1
                        then[after] = then.get(after, 0.0) + found
                total -= wasted / (cells - len(board))
                then[hits, 0] = then.get((hits, 0), 0.0) + wasted
            now = {key: mass for key, mass in then.items() if key[0] != everything}
    return total


@pytest.mark.parametrize(("rows", "columns", "ships"), [(2, 2, "2"), (2, 4, "2"), (3, 3, "2+2"), (3, 4, "2+2")])
def test_no_policy_of_the_last_outcome_earns_more_than_the_upper_end(rows, columns, ships):
    """Of 1,000 policies, from such that prefer a cell to such that prefer none, and those with a cell for behind a hit,
    each earns at most what its own shots would hit if none were spared, and that is at most the upper end."""
    cells, ready = rows * columns, member(rows, columns, ships)
    targets, upper = ready.env.targets, most_blindly(ready.env)
    rng = np.random.default_rng(3000)
    size = 10 ** rng.uniform(-1, 2, (1000, 2, 1))
    draws = rng.gamma(np.broadcast_to(size, (1000, 2, cells))) + 1e-12
    one = np.eye(cells)
    missed, hit = np.moveaxis(draws / draws.sum(-1, keepdims=True), 1, 0)
    missed, hit = np.concatenate([missed, (1 - one) / (cells - 1)]), np.concatenate([hit, one])
    earned = memoryless_values(rows, columns, ships, missed, hit)
    chances = sum(chance * np.isin(np.arange(cells), [*board]) for board, chance in law(rows, columns, ships).items())
    covered = 1 - (1 - missed) ** cells * (1 - hit) ** (targets - 1)
    gain = (1 / targets + ready.env.miss) * covered + covered**targets / targets
    unspared = gain @ chances - ready.env.miss * cells
    assert (earned <= unspared + 1e-9).all() and (unspared <= upper).all()
    assert unspared.max() > upper - 0.15
    certified = ready.certified["memoryless_stochastic"]
    assert certified.upper == min(upper, ready.certified["history"].upper)
    uniform = np.full((1, cells), 1 / cells)
    assert memoryless_values(rows, columns, ships, uniform, uniform)[0] == pytest.approx(certified.lower, abs=1e-12)


@pytest.mark.parametrize(("rows", "columns", "ships"), [(2, 3, "2"), (2, 4, "2")])
def test_the_best_policy_of_the_last_outcome_that_a_search_finds_lies_within_the_certified_ends(rows, columns, ships):
    """Twenty policies, each going on from the best of its neighbours."""
    rng, cells = np.random.default_rng(3000), rows * columns
    logits = rng.normal(size=(20, 2, cells))
    earned = np.full(20, -np.inf)
    for _ in range(150):
        tried = logits + rng.normal(size=logits.shape) * 2.0 ** rng.integers(-5, 2)
        laws = np.exp(tried) / np.exp(tried).sum(-1, keepdims=True)
        value = memoryless_values(rows, columns, ships, laws[:, 0], laws[:, 1])
        better = value > earned
        logits, earned = np.where(better[:, None, None], tried, logits), np.where(better, value, earned)
    certified = member(rows, columns, ships).certified["memoryless_stochastic"]
    assert certified.lower < earned.max() < certified.upper


@pytest.mark.parametrize(("size", "fleet"), [((8, 8), "2+3+3+4"), ((10, 10), "2+3+3+4")])
def test_without_memory_less_is_earned_than_by_every_cell_once(size, fleet):
    """So that who earns what shooting in any order earns has proved that it remembers."""
    certified = member(*size, fleet).certified
    assert certified["memoryless_stochastic"].lower < certified["memoryless_stochastic"].upper < -0.25
    assert certified["history"].lower > 0


def test_who_shoots_where_ships_mostly_lie_earns_no_more_than_the_upper_end():
    """The mean of 1,000 episodes, with 5 standard errors."""
    ready = member(8, 8, "2+3+3+4")
    weights = jnp.log(largest_chances(ready.env))
    earned = returns(ready, lambda key, t: jax.random.categorical(jax.random.fold_in(key, t), weights), 1000)
    certified = ready.certified["memoryless_stochastic"]
    assert earned.mean() + 5 * earned.std() / 1000**0.5 < certified.upper


def test_every_step_is_that_of_the_plain_game():
    ready = member(4, 3, "2+2")
    env = ready.env
    reset = jax.jit(lambda key: env.reset(key, ready.params))
    step = jax.jit(lambda state, action: env.step(jax.random.key(0), state, action, ready.params))
    rng, ends_seen = np.random.default_rng(3000), set()
    for episode in range(40):
        obs, state = reset(jax.random.key(episode))
        board, shot = frozenset(np.flatnonzero(state.ships).tolist()), set()
        assert int(obs) == 0 and len(board) == 4
        for t in range(12):
            # Where there are ships, more often than not, so that some are sunk before the time is over.
            action = int(rng.choice(sorted(board))) if rng.random() < 0.6 else int(rng.integers(12))
            after = step(state, jnp.int32(action))
            paid, shown = plain(board, 12, shot, action)
            shot.add(action)
            sunk = board <= shot
            assert float(after.reward) == pytest.approx(paid, abs=1e-6) and int(after.obs) == shown
            assert bool(after.terminated) == (sunk or t == 11) and not after.truncated
            state = after.state
            if after.terminated:
                ends_seen.add("sunk" if sunk else "late")
                break
    assert ends_seen == {"sunk", "late"}


@pytest.mark.parametrize(("rows", "columns", "ships"), [(2, 5, "2"), (3, 4, "2+2"), (3, 3, "2+3"), (4, 5, "2+3")])
def test_ships_lie_wherever_those_before_them_leave_room(rows, columns, ships):
    """Boards come as often as their law says (chi-squared, false alarm 1e-6)."""
    env, chances = member(rows, columns, ships).env, law(rows, columns, ships)
    known = board_law(env)
    assert known.keys() == chances.keys() and sum(known.values()) == pytest.approx(1.0)
    assert all(known[board] == pytest.approx(chance) for board, chance in chances.items())
    keys = jax.random.split(jax.random.key(3000), 30_000)
    boards = np.asarray(jax.jit(jax.vmap(lambda key: env.reset(key, ())[1].ships))(keys))
    counts = Counter(frozenset(np.flatnonzero(board).tolist()) for board in boards)
    assert counts.keys() <= chances.keys()
    expected = {board: 30_000 * chance for board, chance in chances.items()}
    assert min(expected.values()) > 5
    statistic = sum((counts[board] - mean) ** 2 / mean for board, mean in expected.items())
    assert statistic < chi2.isf(1e-6, len(expected) - 1)


def least_free(rows, columns, ships):
    """The fewest places that each ship may find, over all ways to place those before it."""
    boards, least = {frozenset()}, []
    for length in lengths(ships):
        free = {board: set(anchored(rows, columns, length, board)) for board in boards}
        least.append(min(map(len, free.values()), default=0))
        boards = {board | ship for board, ships in free.items() for ship in ships}
    return least


def test_every_ship_finds_as_many_places_as_are_promised_and_other_boards_are_refused():
    taken = 0
    for rows, columns, ships in product(range(2, 5), range(2, 6), get_args(Fleet)[:4]):
        env = Battleship(rows, columns, tuple(lengths(ships)))
        sure = env.least_free()
        if min(sure) <= 0 or env.cells == env.targets:
            with pytest.raises(ValueError, match="there may be no room for all ships and a miss"):
                member(rows, columns, ships)
            continue
        taken += 1
        assert member(rows, columns, ships).env == env
        assert all(found >= promised for found, promised in zip(least_free(rows, columns, ships), sure, strict=True))
    assert taken > 20


def returns(ready, policy, episodes):
    """[episodes] of a policy (key of the episode, t) -> cell."""
    env = ready.env

    def one(key):
        begin, act = jax.random.split(key)
        _, state = env.reset(begin, ready.params)

        def step(carry, t):
            state, on = carry
            after = env.step(key, state, policy(act, t), ready.params)
            return (after.state, on & ~after.terminated), jnp.where(on, after.reward, 0.0)

        return jax.lax.scan(step, (state, jnp.bool_(True)), jnp.arange(env.longest))[1].sum()

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3001), episodes)), np.float64)


@pytest.mark.parametrize(("rows", "columns", "ships"), [(8, 8, "2+3+3+4"), (3, 6, "2+2")])
def test_the_policies_of_the_lower_ends_earn_them(rows, columns, ships):
    """The means of 4,000 episodes within 5 standard errors."""
    ready, cells = member(rows, columns, ships), rows * columns
    policies = {
        "memoryless_stochastic": lambda key, t: jax.random.randint(jax.random.fold_in(key, t), (), 0, cells),
        "history": lambda key, t: jax.random.permutation(key, cells)[t],
    }
    for name, policy in policies.items():
        earned = returns(ready, policy, 4000)
        assert earned.mean() == pytest.approx(ready.certified[name].lower, abs=5 * earned.std() / 4000**0.5)


@pytest.mark.parametrize(("theirs", "side"), [("Easy", 8), ("Medium", 10), ("Hard", 12)])
def test_on_the_same_board_every_step_is_that_of_popgym(theirs, side):
    """But for what the end is called."""
    popgym = pytest.importorskip("popgym.envs")
    other, ready = getattr(popgym, f"Battleship{theirs}")(), member(side, side, "2+3+3+4")
    env, rng, lasted = ready.env, np.random.default_rng(3000), []
    reset = jax.jit(lambda key: env.reset(key, ready.params))
    step = jax.jit(lambda state, action: env.step(jax.random.key(0), state, action, ready.params))
    for episode in range(8):
        seen, _ = other.reset(seed=episode)
        obs, state = reset(jax.random.key(episode))
        assert int(obs) == seen and state.ships.sum() == other.board.sum()
        state = state._replace(ships=jnp.asarray(other.board.ravel().astype(bool)))
        targets = np.flatnonzero(other.board)
        for _ in range(env.longest):
            action = int(rng.choice(targets)) if rng.random() < 0.5 * (episode % 2) else int(rng.integers(env.cells))
            after = step(state, jnp.int32(action))
            seen, reward, terminated, truncated, _ = other.step(divmod(action, side))
            assert int(after.obs) == seen and float(after.reward) == pytest.approx(reward, abs=1e-6)
            assert bool(after.terminated) == (terminated or truncated)
            state = after.state
            if after.terminated:
                break
        lasted.append(int(state.time))
    assert max(lasted) == env.longest > min(lasted)


def test_impossible_seas_are_refused():
    with pytest.raises(ValueError, match=r"rows is 3 and columns is 4 and ships is 2\+3\+3\+4: there may be no room"):
        member(3, 4, "2+3+3+4")
    with pytest.raises(ValueError, match=r"ships is 3, expected one of 2, 2\+2, 2\+3, 2\+3\+3"):
        environment("battleship:ships=3")
    with pytest.raises(ValueError, match="rows is 1, expected a whole number >= 2"):
        environment("battleship:rows=1")
