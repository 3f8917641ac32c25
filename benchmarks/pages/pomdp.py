"""The sections of docs/what_is_a_pomdp.md: pictures of tasks, and what is computed exactly of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqrl_jax.exact.advice import Advice
from seqrl_jax.exact.solve import Solution, solve_anew
from seqrl_jax.report.words import bound, two
from seqrl_jax.tasks import TabularPOMDP, describe, make, tabular_params
from seqrl_jax.tasks.filter import first_belief, next_belief
from seqrl_jax.tracks.pomdp import POMDP

LINE, TIGER = "aliased_line", "tiger"
HEARD: tuple[tuple[str, ...], ...] = (
    (),
    ("hear_left",),
    ("hear_left", "hear_left"),
    ("hear_left", "hear_right"),
    ("hear_left", "hear_left", "hear_left"),
)
"""What listening may have told."""
REMEMBERED = 2
"""Actions of a policy that remembers, as many as the line needs."""


def line_picture() -> str:
    """The three cells."""
    return _picture(LINE)


def tiger_picture() -> str:
    """The two doors."""
    return _picture(TIGER)


def line_values() -> str:
    """The five certified values of the line, with the policies that reach them."""
    task = make(LINE)
    solution = solve_anew(task)
    policies = _policies(task, solution)
    lines = ["| value | of | on this task | J |", "|---|---|---|---:|"]
    for name, about in POMDP.bounds.items():
        value = solution.values[name]
        shown = two(value.lower) if value.is_exact else f"{two(value.lower)} to {two(value.upper)}"
        lines.append(f"| {bound(name)} | {about} | {policies[name]} | {shown} |")
    return "\n".join([*lines, "", f"`seqrl solve {LINE}`, exact."])


def tiger_beliefs() -> str:
    """What is believed of the tiger, and what each action is worth then."""
    task = make(TIGER)
    listen = task.actions.index("listen")
    lines = [f"| heard | tiger behind the left door | {' | '.join(map(_words, task.actions))} | best |"]
    lines.append("|---|---:|" + "---:|" * task.num_actions + "---|")
    for heard in HEARD:
        belief, values = _after(task, listen, [task.observations.index(each) for each in heard])
        label = ", ".join(each.removeprefix("hear_") for each in heard) or "nothing"
        left = belief[task.states.index("left")]
        worth = " | ".join(map(two, values))
        lines.append(f"| {label} | {two(float(left))} | {worth} | {_words(task.actions[values.argmax()])} |")
    return "\n".join([*lines, "", f"Of `{TIGER}` at its shipped horizon of {task.horizon} steps, exact."])


def _picture(name: str) -> str:
    return f"```text\n{describe(name).picture}\n```"


def _policies(task: TabularPOMDP, solution: Solution) -> dict[str, str]:
    """The policies that are kept, in words, of a task in which all states but the end look the same."""
    controller, seen = solution.history, _first(task)
    node, remembered = controller.start[seen], list[str]()
    for _ in range(REMEMBERED):
        remembered.append(task.actions[controller.action[node]])
        node = controller.successor[node, seen]
    return {
        "random": _chances(task, np.full(task.num_actions, 1 / task.num_actions)),
        "memoryless_deterministic": f"always {task.actions[solution.deterministic[seen].argmax()]}",
        "memoryless_stochastic": _chances(task, solution.stochastic[seen]),
        "history": ", then ".join(remembered),
        "state": ", ".join(
            f"{task.actions[solution.state[0, s]]} in {task.states[s]}" for s in np.flatnonzero(~task.terminal)
        ),
    }


def _chances(task: TabularPOMDP, chances: np.ndarray) -> str:
    return ", ".join(f"{action} {two(float(chance))}" for action, chance in zip(task.actions, chances))


def _after(task: TabularPOMDP, action: int, seen: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The belief [S] after an action was taken and these observations were made in turn, and what each action is worth
    then [A]."""
    params, advice = tabular_params(task), Advice.on(task)
    assert advice is not None, "few beliefs can be reached"
    first = _first(task)
    belief, node = first_belief(params, first), advice.begin(first)
    for obs in seen:
        belief, node = next_belief(params, belief, action, obs), advice.after(node, action, obs)
    return np.asarray(belief), advice.action_values(len(seen), node)


def _first(task: TabularPOMDP) -> int:
    """The observation at the start, of a task in which all states show the same."""
    return int(task.initial_observation[0].argmax())


def _words(name: str) -> str:
    return name.replace("_", " ")
