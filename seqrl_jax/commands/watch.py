"""`seqrl watch`: an episode of a policy, beside what is believed and what each action costs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from seqrl_jax.agents.base import Policy
from seqrl_jax.agents.fitted import Fitted, fit
from seqrl_jax.commands.console import print_json
from seqrl_jax.exact.controller import Controller
from seqrl_jax.exact.solve import cache_directory, solve
from seqrl_jax.figures import printable
from seqrl_jax.files import write_whole
from seqrl_jax.naming import SpecError
from seqrl_jax.report.film import film
from seqrl_jax.runs.programs import keep_compiled_programs
from seqrl_jax.tasks.environments import table
from seqrl_jax.tasks.tabular import TabularPOMDP
from seqrl_jax.tracks.episode import Choice, Chooser, Moment, Step, by_policy, episode
from seqrl_jax.tracks.evaluation import controller_policy

LIKELY = 3
"""States of a belief that are named."""
WORTH_SAYING = 1e-6


def run(options: argparse.Namespace) -> None:
    """Print the episode, or its JSON; write the film."""
    task = table(options.task)
    keep_compiled_programs()
    chooser = _random(task, options.seed) if options.random else by_policy(task, _policy(task, options), options.seed)
    steps = list(episode(task, chooser, options.seed))
    if options.gif:
        write_whole(options.gif, film(task, steps))
    if options.json:
        return print_json(for_machines(task, steps))
    for step in steps:
        print("\n".join(in_words(task, step)))
    print(f"return {discounted(task, steps):.6g} in {len(steps)} steps; {parted(task, steps)}")


def _policy(task: TabularPOMDP, options: argparse.Namespace) -> Policy:
    """Of a file, of an agent that is trained now, or the best one."""
    if options.checkpoint:
        return _of(Fitted.load(options.checkpoint), options.checkpoint, options.task)
    if options.agent:
        return fit(options.agent, options.task, options.steps, options.seed).policy
    controller: Controller = solve(task, cache_directory()).history
    return controller_policy(controller)


def _of(fitted: Fitted, path: Path, task: str) -> Policy:
    if fitted.environment != task:
        raise SpecError(f"{path}: was trained in {fitted.environment}, not in {task}")
    return fitted.policy


def _random(task: TabularPOMDP, seed: int) -> Chooser:
    rng, even = np.random.default_rng(seed), np.full(task.num_actions, 1 / task.num_actions)
    return lambda moment, paid: Choice(int(rng.integers(task.num_actions)), even)


def in_words(task: TabularPOMDP, step: Step) -> list[str]:
    """A step in words."""
    lines = [believed(task, step.moment)]
    chances = step.choice.probabilities
    shares = "" if chances is None else f" ({', '.join(_shares(task, chances))})"
    cost = "" if not step.cost or step.cost < WORTH_SAYING else f", {step.cost:.4g} less than the best action"
    lines.append(f"     {printable(task.actions[step.action])}{shares}, paid {step.reward:.4g}{cost}")
    if step.choice.value is not None:
        optimal = "" if step.optimal_value is None else f"; the best policy earns {step.optimal_value:.4g}"
        lines.append(f"     expects {step.choice.value:.4g} from here on{optimal}")
    return lines


def believed(task: TabularPOMDP, moment: Moment) -> str:
    """What is seen, and what a perfect memory makes of it."""
    order = np.argsort(-moment.belief, kind="stable")
    likely = [f"{printable(task.states[s])} {moment.belief[s]:.2f}" for s in order[:LIKELY] if moment.belief[s] > 0]
    rest = int((moment.belief > 0).sum()) - len(likely)
    more = f" and {rest} more" if rest > 0 else ""
    seen = (
        f"t={moment.time:<3}sees {printable(task.observations[moment.obs])}, in {printable(task.states[moment.state])}"
    )
    return f"{seen}; belief: {', '.join(likely)}{more}"


def _shares(task: TabularPOMDP, chances: np.ndarray) -> list[str]:
    return [f"{printable(task.actions[a])} {p:.2f}" for a, p in enumerate(chances) if p > 0]


def discounted(task: TabularPOMDP, steps: list[Step]) -> float:
    """The return of the episode."""
    return float(sum(task.discount**t * step.reward for t, step in enumerate(steps)))


def parted(task: TabularPOMDP, steps: list[Step]) -> str:
    """Where the policy first did what the belief does not advise, and where its value is furthest from the belief's."""
    if steps[0].cost is None:
        return "its beliefs are too many to be listed, so that nothing is said of what actions cost"
    first = next((step for step in steps if (step.cost or 0) > WORTH_SAYING), None)
    did = "no action was worse than another" if first is None else f"first worse than the best at t={first.moment.time}"
    errors = {step.moment.time: step.value_error for step in steps if step.value_error is not None}
    if not errors:
        return did
    time, error = max(errors.items(), key=lambda entry: abs(entry[1]))
    by = f"{abs(error):.4g} too {'much' if error > 0 else 'little'}"
    return f"{did}; it expects {by} at t={time}, where its value is furthest from the belief's"


def for_machines(task: TabularPOMDP, steps: list[Step]) -> dict[str, Any]:
    """{"return", "steps": [{"time", "state", "observation", "belief", "action", "probabilities", "reward", "cost",
    "value", "optimal_value"}]}"""
    return {
        "return": discounted(task, steps),
        "steps": [
            {
                "time": step.moment.time,
                "state": task.states[step.moment.state],
                "observation": task.observations[step.moment.obs],
                "belief": {task.states[s]: float(step.moment.belief[s]) for s in np.flatnonzero(step.moment.belief)},
                "action": task.actions[step.action],
                "probabilities": None
                if step.choice.probabilities is None
                else dict(zip(task.actions, step.choice.probabilities.tolist(), strict=True)),
                "reward": step.reward,
                "cost": step.cost,
                "value": step.choice.value,
                "optimal_value": step.optimal_value,
            }
            for step in steps
        ],
    }
