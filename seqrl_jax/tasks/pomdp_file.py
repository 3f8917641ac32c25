"""Tasks as files: Cassandra's `.POMDP` format, read and written.

Source: http://www.pomdp.org/code/pomdp-file-spec.html. What the format lacks stands in comments that other programs
skip and this reader understands:

    # seqrl: horizon N                                  the task's horizon
    # seqrl: terminal STATE ...                         exactly these states end the episode
    # seqrl: initial_observation STATE : OBS PROB       one probability of the law of o_0
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy import sparse

from seqrl_jax.files import write_whole
from seqrl_jax.tasks.pomdp_model import Model
from seqrl_jax.tasks.pomdp_parser import parse
from seqrl_jax.tasks.pomdp_rewards import expected_rewards
from seqrl_jax.tasks.pomdp_tokens import KEYWORDS, NAME, PROBABILITY_TOLERANCE, NameSet, PomdpFileError
from seqrl_jax.tasks.tables import (
    MOST_DENSE,
    SparseTable,
    Table,
    dense_matrix,
    each_row,
    is_small,
    row_numbers,
    with_data,
)
from seqrl_jax.tasks.tabular import SUM_TOLERANCE, TabularPOMDP, validated

__all__ = ["DEFAULT_HORIZON", "PomdpFileError", "format_pomdp", "parse_pomdp", "read_pomdp", "write_pomdp"]

DEFAULT_HORIZON = 20
"""The horizon of a file that names none."""
NO_OBSERVATION = "none"
"""The o_0 of a file that gives no law for it; never seen again in the episode."""


def read_pomdp(path: str | os.PathLike[str], horizon: int | None = None) -> TabularPOMDP:
    """The task in a `.POMDP` file, named after the file. See `parse_pomdp`.

    Raises:
        PomdpFileError: the file cannot be read or is malformed; one line that names the place.
        TaskError: the horizon is below 1.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PomdpFileError(str(path), 0, f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise PomdpFileError(str(path), 0, "cannot be the path of a file") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, f"{content[error.start]:#04x}"
        raise PomdpFileError(str(path), line, "this byte is not UTF-8 text", byte) from error
    return parse_pomdp(text, str(path), horizon)


def parse_pomdp(text: str, source: str = "<text>", horizon: int | None = None) -> TabularPOMDP:
    """The task that a text in Cassandra's format describes.

    What the format leaves open is settled so:

    - o_0: a file gives no observation before the first action, so the task emits one named `none` (the last one;
      `none_` and so on where the name is taken) that says nothing and never comes again.
    - Rewards that depend on the observation become their expectation over o given (a, s'). J is unchanged: it is an
      expectation, given (s, a, s') the observation o' is drawn from O(. | a, s') whatever the policy, and no policy
      sees the reward, so E[R(s, a, s', o')] = E[E[R(s, a, s', o') | s, a, s']].
    - A state that no action leaves, that pays nothing and in which no episode starts is terminal. Every value is the
      same; episodes can end there instead of idling until the horizon.
    - Rows that miss 1 by at most 1e-4 (files round their numbers) are normalised, with one UserWarning.
    - A count of states, actions or observations names them "0", "1", ...

    Args:
        text: the file's content.
        source: for messages; its stem is the task's name.
        horizon: of the task; by default the file's annotation, else `DEFAULT_HORIZON`.

    Raises:
        PomdpFileError: malformed text, `SOURCE:LINE: what is wrong, near 'TOKEN'`.
        TaskError: the horizon is below 1.
    """
    model = parse(text, source)
    if horizon is None:
        horizon = DEFAULT_HORIZON if model.horizon is None else model.horizon
    num_s, observations = len(model.states), model.observations.names
    transition, observation, first = _normalised(model)
    if first is None:
        observations = (*observations, _unused_name(observations))
        observation = _wider(observation)
        nothing = (np.ones(num_s), np.full(num_s, len(observations) - 1), np.arange(num_s + 1))
        first = sparse.csr_array(nothing, shape=(num_s, len(observations)))
    laws, shows = (tuple(_by_action(rows, num_s)) for rows in (transition, observation))
    reward = _expected_reward(model, laws, shows, is_small(num_s, len(laws), len(observations)))
    return validated(
        TabularPOMDP(
            initial=model.start,
            initial_observation=first,
            transition=SparseTable(laws),
            observation=SparseTable(shows),
            reward=reward,
            terminal=_terminal(model, laws, reward),
            discount=model.discount,
            horizon=horizon,
            name=Path(source).stem,
            states=model.states.names,
            actions=model.actions.names,
            observations=observations,
            origin=model.origin,
        )
    )


def write_pomdp(task: TabularPOMDP, path: str | os.PathLike[str]) -> None:
    """Write the task so that `read_pomdp` restores it bit for bit; readers never see half a file.

    Raises: ValueError for a name that the format does not allow, TaskError for a task that is none, OSError.
    """
    write_whole(path, format_pomdp(task).encode())


def format_pomdp(task: TabularPOMDP) -> str:
    """The task as text in Cassandra's format, sparse, with the annotations that restore the rest of it.

    An o_0 that says nothing, as `parse_pomdp` makes it, is left out. Numbers are written with all their digits.

    Raises: ValueError for a name that the format does not allow, TaskError for a task that is none.
    """
    task = validated(task)
    shows_nothing_first = _shows_nothing_first(task)
    observations = task.observations[:-1] if shows_nothing_first else task.observations
    head = [
        f"# task {task.name!a}",
        *(f"# {line}".rstrip() for line in task.origin),
        f"# seqrl: horizon {task.horizon}",
        " ".join(["# seqrl: terminal", *(task.states[s] for s in np.flatnonzero(task.terminal))]),
        "",
        f"discount: {task.discount!r}",
        "values: reward",
        f"states: {_declaration('state', task.states)}",
        f"actions: {_declaration('action', task.actions)}",
        f"observations: {_declaration('observation', observations)}",
        f"start: {' '.join(map(_probability, task.initial.tolist()))}",
    ]
    sections: list[Iterator[str]] = [
        _entries("T:", task.lists.transition, task.actions, task.states, task.states),
        _entries("O:", task.lists.observation, task.actions, task.states, task.observations),
        _reward_entries(task),
    ]
    if not shows_nothing_first:
        keyword, law = "# seqrl: initial_observation", task.lists.initial_observation
        sections.insert(0, _entries(keyword, [law], [""], task.states, task.observations))
    return "\n".join([*head, *(line for section in sections for line in ("", *section))]) + "\n"


def _normalised(model: Model) -> tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array | None]:
    """T [A * S, S], O [A * S, O] and the law of o_0 [S, O] after every check; rows that rounding has left off 1 are
    scaled, with a warning, and so is the start, in place."""
    tables = [(model.transition, "T:", model.actions), (model.observation, "O:", model.actions)]
    laws, scaled = [], []
    for table, keyword, *axes in tables:
        rows = table.rows()
        scaled += _scale(model, rows, table.lines, keyword, *axes, model.states)
        laws.append(rows)
    start = sparse.csr_array(model.start[None])
    scaled += _scale(model, start, np.array([model.start_line]), "start")
    model.start = dense_matrix(start)[0]
    first = None
    if model.initial_observation is not None:
        first = model.initial_observation.rows()
        scaled += _scale(model, first, model.initial_observation.lines, "initial_observation", model.states)
    if scaled:
        rows = "a row" if len(scaled) == 1 else f"{len(scaled)} rows"
        message = f"{model.source}: normalised {rows}, the first is {scaled[0]}"
        # Three frames up is the caller of parse_pomdp.
        warnings.warn(message, UserWarning, stacklevel=3)
    return laws[0], laws[1], first


def _scale(model: Model, rows: sparse.csr_array, lines: np.ndarray, keyword: str, *axes: NameSet) -> list[str]:
    """Which rows were scaled, in place. Raises PomdpFileError for one that is absent or further off than tolerated."""

    def address(row: int) -> str:
        index = np.unravel_index(row, [len(axis) for axis in axes]) if axes else ()
        places = " : ".join(axis.names[i] for axis, i in zip(axes, index, strict=True))
        return f"{keyword} {places}".strip()

    sums = _sums(rows)
    off = np.abs(sums - 1)
    for row in np.flatnonzero(off > PROBABILITY_TOLERANCE).tolist():
        line, total = int(lines.flat[row]), sums[row]
        problem = f"this row sums to {total:.9g}, not to 1" if line else "there is no entry for this row"
        raise PomdpFileError(model.source, line or model.end.line, problem, address(row))
    inexact = np.flatnonzero(off > SUM_TOLERANCE)
    if len(inexact):
        rows.data /= np.where(off > SUM_TOLERANCE, sums, 1.0)[row_numbers(rows)]
    return [f"{address(row)!r}, which summed to {sums[row]:.9g}" for row in inexact.tolist()]


def _sums(rows: sparse.csr_array) -> np.ndarray:
    """[R]: of each row; of small ones as numpy sums arrays, to the last digit."""
    if math.prod(rows.shape) <= MOST_DENSE:
        return np.asarray(dense_matrix(rows).sum(-1))
    return np.bincount(row_numbers(rows), rows.data, rows.shape[0])


def _wider(rows: sparse.csr_array) -> sparse.csr_array:
    """With one more column, of nothing."""
    return sparse.csr_array((rows.data, rows.indices, rows.indptr), shape=(rows.shape[0], rows.shape[1] + 1))


def _by_action(rows: sparse.csr_array, num_states: int) -> Iterator[sparse.csr_array]:
    return (rows[begin : begin + num_states] for begin in range(0, rows.shape[0], num_states))


def _expected_reward(
    model: Model, laws: Sequence[sparse.csr_array], shows: Sequence[sparse.csr_array], small: bool
) -> Table:
    """The `R` entries in their order, averaged over the observation where they depend on it: as an array for a small
    task, else where a transition is possible."""
    num_s = len(model.states)
    if small:
        every = np.arange(num_s + 1) * num_s, np.tile(np.arange(num_s), num_s)
        cells = [every] * len(laws)
    else:
        cells = [(law.indptr, law.indices) for law in laws]
    # Without the observation that a file lacks, which says nothing and is never seen.
    seen = [show[:, : len(model.observations)] for show in shows]
    rewards = expected_rewards(model.source, model.rewards, cells, seen)
    if model.cost:
        rewards = [0.0 - paid for paid in rewards]
    if small:
        return np.stack(rewards).reshape(-1, num_s, num_s)
    return SparseTable(tuple(with_data(law, paid) for law, paid in zip(laws, rewards, strict=True)))


def _terminal(model: Model, laws: Sequence[sparse.csr_array], reward: Table) -> np.ndarray:
    """[S] bool: the annotated terminal states, else every state that is never left, never pays and never starts."""
    stays = np.all([law.diagonal() >= 1 - SUM_TOLERANCE for law in laws], axis=0)
    idle = np.all([matrix.diagonal() == 0 for matrix in reward], axis=0)
    possible = stays & idle & (model.start == 0)
    if model.terminal_lines is None:
        return possible
    terminal = model.terminal_lines > 0
    if (terminal & ~possible).any():
        s = np.flatnonzero(terminal & ~possible)[0]
        problem = "a terminal state must not be left, pay or be a start state"
        raise PomdpFileError(model.source, int(model.terminal_lines[s]), problem, model.states.names[s])
    return terminal


def _unused_name(observations: tuple[str, ...]) -> str:
    name = NO_OBSERVATION
    while name in observations:
        name += "_"
    return name


def _shows_nothing_first(task: TabularPOMDP) -> bool:
    """Whether o_0 is the last observation, for certain and never again, under the name a reader would give it."""
    *others, last = task.observations
    first, number = task.lists.initial_observation, len(others)
    return (
        bool(others)
        and last == _unused_name(tuple(others))
        and bool((first.data == 1).all())
        and bool((first.indices == number).all())
        and not any((law.indices == number).any() for law in task.lists.observation)
    )


def _declaration(kind: str, names: tuple[str, ...]) -> str:
    """A count for the names "0", "1", ..., else the names. Raises ValueError for one that the format does not allow."""
    if names == tuple(map(str, range(len(names)))):
        return str(len(names))
    for name in names:
        if name in KEYWORDS:
            raise ValueError(f"the {kind} name {name!r} is a keyword of the .POMDP format: rename it to write the task")
        if not NAME.fullmatch(name):
            raise ValueError(
                f"the {kind} name {name!r} cannot stand in a .POMDP file: rename it to a letter followed by "
                "letters, digits, '_' and '-' to write the task"
            )
    return " ".join(names)


def _entries(
    keyword: str, laws: Iterable[sparse.csr_array], actions: Iterable[str], states: Sequence[str], names: Sequence[str]
) -> Iterator[str]:
    """`KEYWORD ACTION : STATE : NAME PROBABILITY` for every probability above 0; without the action where it is ""."""
    for action, law in zip(actions, laws, strict=True):
        begin = f"{keyword} {action} : " if action else f"{keyword} "
        entries = zip(row_numbers(law).tolist(), law.indices.tolist(), law.data.tolist(), strict=True)
        for row, column, value in entries:
            yield f"{begin}{states[row]} : {names[column]} {_probability(value)}"


def _reward_entries(task: TabularPOMDP) -> Iterator[str]:
    """One `R` entry for a row that is all the same, else one for every reward that is not 0."""
    for action, matrix in zip(task.actions, task.reward, strict=True):
        for s, (columns, row) in enumerate(each_row(matrix)):
            # A zero with a sign is written too: it is a difference that a fingerprint sees.
            written = np.flatnonzero((row != 0) | np.signbit(row))
            place = f"R: {action} : {task.states[s]}"
            if not len(written):
                continue
            if len(set(row.view(np.int64).tolist())) == 1:
                yield f"{place} : * : * {float(row[0])!r}"
                continue
            for number in written:
                yield f"{place} : {task.states[columns[number]]} : * {float(row[number])!r}"


def _probability(value: float) -> str:
    # The format allows no sign here, not even that of -0.0.
    return repr(float(value) + 0.0)
