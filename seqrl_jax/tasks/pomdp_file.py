"""Tasks as files: Cassandra's `.POMDP` format, read and written.

Source: http://www.pomdp.org/code/pomdp-file-spec.html. What the format lacks stands in comments that other programs
skip and this reader understands:

    # seqrl: horizon N                                  the task's horizon
    # seqrl: terminal STATE ...                         exactly these states end the episode
    # seqrl: initial_observation STATE : OBS PROB       one probability of the law of o_0
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from seqrl_jax.files import write_whole
from seqrl_jax.tasks.pomdp_parser import MAX_ENTRIES, Model, Reward, Table, parse
from seqrl_jax.tasks.pomdp_tokens import EVERY, KEYWORDS, NAME, PROBABILITY_TOLERANCE, NameSet, PomdpFileError
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
    _normalise(model)
    reward = _expected_reward(model)
    terminal = _terminal(model, reward)
    observation, observations = model.observation.rows, model.observations.names
    if model.initial_observation is None:
        observation = np.pad(observation, ((0, 0), (0, 0), (0, 1)))
        observations = (*observations, _unused_name(observations))
        initial_observation = np.zeros((len(model.states), len(observations)))
        initial_observation[:, -1] = 1
    else:
        initial_observation = model.initial_observation.rows
    return validated(
        TabularPOMDP(
            initial=model.start.rows,
            initial_observation=initial_observation,
            transition=model.transition.rows,
            observation=observation,
            reward=reward,
            terminal=terminal,
            discount=model.discount,
            horizon=horizon,
            name=Path(source).stem,
            states=model.states.names,
            actions=model.actions.names,
            observations=observations,
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
        _entries("T:", task.transition, task.actions, task.states, task.states),
        _entries("O:", task.observation, task.actions, task.states, task.observations),
        _reward_entries(task),
    ]
    if not shows_nothing_first:
        keyword = "# seqrl: initial_observation"
        sections.insert(0, _entries(keyword, task.initial_observation, task.states, task.observations))
    return "\n".join([*head, *(line for section in sections for line in ("", *section))]) + "\n"


def _normalise(model: Model) -> None:
    """Check every distribution and scale, in place, the rows that rounding has left off 1; warn of these."""
    scaled = [
        *_scaled(model, model.transition, "T:", model.actions, model.states),
        *_scaled(model, model.observation, "O:", model.actions, model.states),
        *_scaled(model, model.start, "start"),
    ]
    if model.initial_observation is not None:
        scaled += _scaled(model, model.initial_observation, "initial_observation", model.states)
    if scaled:
        rows = "a row" if len(scaled) == 1 else f"{len(scaled)} rows"
        message = f"{model.source}: normalised {rows}, the first is {scaled[0]}"
        # Three frames up is the caller of parse_pomdp.
        warnings.warn(message, UserWarning, stacklevel=3)


def _scaled(model: Model, table: Table, keyword: str, *axes: NameSet) -> list[str]:
    """Which rows were scaled. Raises PomdpFileError for one that is absent or off 1 by more than the tolerance."""

    def address(index: np.ndarray) -> str:
        places = " : ".join(axis.names[i] for axis, i in zip(axes, index, strict=True))
        return f"{keyword} {places}".strip()

    sums = np.asarray(table.rows.sum(-1))
    off = np.abs(sums - 1)
    for index in np.argwhere(off > PROBABILITY_TOLERANCE):
        line, total = int(table.lines[tuple(index)]), sums[tuple(index)]
        problem = f"this row sums to {total:.9g}, not to 1" if line else "there is no entry for this row"
        raise PomdpFileError(model.source, line or model.end.line, problem, address(index))
    inexact = off > SUM_TOLERANCE
    table.rows[inexact] /= sums[inexact][..., None]
    return [f"{address(i)!r}, which summed to {sums[tuple(i)]:.9g}" for i in np.argwhere(inexact)]


def _expected_reward(model: Model) -> np.ndarray:
    """reward[A, S, S], the `R` entries in their order, averaged over the observation where they depend on it.

    An array over observations is only made for the actions that need it, one at a time.
    """
    num_s, num_o = len(model.states), len(model.observations)
    by_action: list[list[Reward]] = [[] for _ in model.actions.names]
    for entry in model.rewards:
        for a in np.atleast_1d(np.arange(len(model.actions))[entry.where[0]]):
            by_action[a].append(entry)
    reward = np.zeros((len(model.actions), num_s, num_s))
    for a, entries in enumerate(by_action):
        observed = next((entry for entry in entries if _depends_on_observation(entry, num_o)), None)
        if observed is None:
            for entry in entries:
                paid = entry.values[..., 0] if entry.values.ndim else entry.values
                reward[a][entry.where[1:3]] = paid
            continue
        line = observed.keyword.line
        if num_s * num_s * num_o > MAX_ENTRIES:
            problem = f"rewards on observations need an array of {num_s * num_s * num_o} numbers"
            raise PomdpFileError(model.source, line, f"{problem}; at most {MAX_ENTRIES} fit", "R")
        table = np.zeros((num_s, num_s, num_o))
        for entry in entries:
            table[entry.where[1:]] = entry.values
        # Around the first observation's reward, so that what does not depend on the observation stays exact.
        base = table[:, :, 0].copy()
        with np.errstate(over="ignore", invalid="ignore"):
            table -= base[:, :, None]
            reward[a] = base + np.einsum("ijo,jo->ij", table, model.observation.rows[a])
        if not np.isfinite(reward[a]).all():
            raise PomdpFileError(model.source, line, "the expected reward is not finite", "R")
    return 0.0 - reward if model.cost else reward


def _depends_on_observation(entry: Reward, num_observations: int) -> bool:
    if len(entry.where) == 4:
        return num_observations > 1 and entry.where[3] != EVERY
    return bool((entry.values != entry.values[..., :1]).any())


def _terminal(model: Model, reward: np.ndarray) -> np.ndarray:
    """[S] bool: the annotated terminal states, else every state that is never left, never pays and never starts."""
    possible = (
        (model.transition.rows.diagonal(axis1=1, axis2=2) >= 1 - SUM_TOLERANCE).all(0)
        & (reward.diagonal(axis1=1, axis2=2) == 0).all(0)
        & (model.start.rows == 0)
    )
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
    return (
        bool(others)
        and last == _unused_name(tuple(others))
        and bool((task.initial_observation[:, -1] == 1).all())
        and not task.initial_observation[:, :-1].any()
        and not task.observation[:, :, -1].any()
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


def _entries(keyword: str, rows: np.ndarray, *names: tuple[str, ...]) -> Iterator[str]:
    """`KEYWORD NAME : NAME : NAME PROBABILITY` for every probability above 0."""
    for index in np.argwhere(rows):
        place = " : ".join(axis[i] for axis, i in zip(names, index, strict=True))
        yield f"{keyword} {place} {_probability(rows[tuple(index)])}"


def _reward_entries(task: TabularPOMDP) -> Iterator[str]:
    """One `R` entry for a row that is all the same, else one for every reward that is not 0."""
    # A zero with a sign is written too: it is a difference that a fingerprint sees.
    written = (task.reward != 0) | np.signbit(task.reward)
    for a, s in np.argwhere(written.any(-1)):
        row, place = task.reward[a, s], f"R: {task.actions[a]} : {task.states[s]}"
        if len(set(row.view(np.int64).tolist())) == 1:
            yield f"{place} : * : * {float(row[0])!r}"
            continue
        for s2 in np.flatnonzero(written[a, s]):
            yield f"{place} : {task.states[s2]} : * {float(row[s2])!r}"


def _probability(value: float) -> str:
    # The format allows no sign here, not even that of -0.0.
    return repr(float(value) + 0.0)
