"""An episode as a GIF: one frame a step, what is believed above what may be done."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from seqrl_jax.figures import COLOURS, new_figure
from seqrl_jax.tasks.tabular import TabularPOMDP
from seqrl_jax.tracks.episode import Step

SECONDS = 1.2
"""A frame."""
MOST_BARS = 40
"""States that are drawn: the likeliest of the episode."""
DPI = 72


def film(task: TabularPOMDP, steps: Sequence[Step]) -> bytes:
    """The frames of an episode, as the bytes of a GIF that repeats."""
    from PIL import Image

    frames = [Image.fromarray(_frame(task, step, _drawn(steps))) for step in steps]
    buffer = io.BytesIO()
    first, *others = frames
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=int(1000 * SECONDS), loop=0)
    return buffer.getvalue()


def _drawn(steps: Sequence[Step]) -> np.ndarray:
    """The states that an episode's beliefs hold, in their own order."""
    most = np.max([step.moment.belief for step in steps], axis=0)
    return np.sort(np.argsort(-most, kind="stable")[: min(MOST_BARS, int((most > 0).sum()))])


def _frame(task: TabularPOMDP, step: Step, states: np.ndarray) -> np.ndarray:
    figure = new_figure(2, 1, 0.4)
    belief, actions = figure.subplots(2, 1)
    moment = step.moment
    colours = [COLOURS[1] if s == moment.state else COLOURS[0] for s in states]
    belief.bar(np.arange(len(states)), moment.belief[states], color=colours)
    belief.set_xticks(np.arange(len(states)), [_short(task.states[s]) for s in states], rotation=90, fontsize=7)
    belief.set_title(f"t = {moment.time}: sees {_short(task.observations[moment.obs])}", fontsize=10)
    belief.set_ylabel("belief (orange: the state)")
    chances = np.eye(task.num_actions)[step.action] if step.choice.probabilities is None else step.choice.probabilities
    actions.bar(
        np.arange(task.num_actions),
        chances,
        color=[COLOURS[2 if a == step.action else 0] for a in range(task.num_actions)],
    )
    actions.set_xticks(np.arange(task.num_actions), [_short(name) for name in task.actions], fontsize=8)
    cost = "" if step.cost is None else f", {step.cost:.3g} below the best"
    actions.set_title(f"does {_short(task.actions[step.action])}, paid {step.reward:.3g}{cost}", fontsize=10)
    actions.set_ylabel("probability")
    for axes in (belief, actions):
        axes.set_ylim(0, 1)
    figure.set_dpi(DPI)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]


def _short(name: str) -> str:
    """A name that fits, in which nothing is read as mathematics."""
    text = name if len(name) <= 14 else f"{name[:13]}…"
    return text.replace("$", r"\$")
