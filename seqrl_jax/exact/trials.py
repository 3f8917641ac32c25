"""Both ends of the history value, closed where they matter: trials that follow the gap between two bounds.

Below stand plans, of which each is an alpha vector, the exact value of acting by it from every state; above stand
points, beliefs whose value is known not to be more. There is a set of each for every number of steps to go. A trial
begins at the start, acts by the upper bound, goes on with the observation behind which the bounds are furthest apart,
weighted by its probability, and brings both bounds up to date on its way back. All bounds are homogeneous,
f(c b) = c f(b), so that beliefs need not be normalised.

Source: Smith & Simmons (2004), Heuristic search value iteration for POMDPs; Hauskrecht (2000), section 4.4, for the
interpolation between a point and the corners of the simplex.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from seqrl_jax.exact.controller import Controller
from seqrl_jax.exact.plans import joined
from seqrl_jax.tasks.tabular import TabularPOMDP

OVERHEAD = 300_000
"""What it takes to look one action ahead, however small the task is, in products of numbers."""
NEGLIGIBLE = 1e-12
"""Of a bound's size: what a backup has to gain for its point or plan to be kept."""


class Ends(NamedTuple):
    """The bounds at the start, and the plans behind the lower one. trials: how many were made."""

    lower: float
    upper: float
    controller: Controller
    trials: int


@dataclass(eq=False)
class Plans:
    """Lower bounds with so many steps to go: K plans.

    alpha: [K, S], what each earns from every state. action: [K]. successor: [K, O], the plan of one step less to
    go that follows each observation.
    """

    alpha: np.ndarray
    action: np.ndarray
    successor: np.ndarray

    def best(self, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The value [N] of beliefs, the columns of [S, N], and by which plan."""
        values = self.alpha @ mass
        plan = values.argmax(0)
        return values[plan, np.arange(mass.shape[1])], plan

    def add(self, alpha: np.ndarray, action: int, successor: np.ndarray) -> None:
        self.alpha = np.vstack([self.alpha, alpha])
        self.action = np.append(self.action, action)
        self.successor = np.vstack([self.successor, successor])


@dataclass(eq=False)
class Points:
    """Upper bounds with so many steps to go: what the state's being seen one step late allows, and P points below it.

    informed: [A, S], of the fast informed bound. states, share: the points' beliefs [nnz], one behind the other;
    begins: [P], where each begins. drop: [P], how far a point's value lies below what the corners say.
    """

    informed: np.ndarray
    states: np.ndarray
    share: np.ndarray
    begins: np.ndarray
    drop: np.ndarray

    @classmethod
    def none(cls, informed: np.ndarray) -> Points:
        """No point as yet."""
        return cls(informed, np.zeros(0, int), np.zeros(0), np.zeros(0, int), np.zeros(0))

    @property
    def corners(self) -> np.ndarray:
        """[S]: the bound where the state is known."""
        return self.informed.max(0)

    def at(self, mass: np.ndarray) -> np.ndarray:
        """The bound [N] at beliefs, the columns of [S, N]."""
        bound = (self.informed @ mass).max(0)
        if len(self.begins):
            # A belief holds so much of a point, and else corners.
            held = np.minimum.reduceat(mass[self.states] / self.share[:, None], self.begins)
            bound = np.minimum(bound, self.corners @ mass - (held * self.drop[:, None]).max(0))
        return bound

    def add(self, belief: np.ndarray, value: float) -> None:
        """A point: `value` bounds the value of this belief, [S]."""
        states = np.flatnonzero(belief)
        self.begins = np.append(self.begins, len(self.states))
        self.states = np.append(self.states, states)
        self.share = np.append(self.share, belief[states])
        self.drop = np.append(self.drop, self.corners @ belief - value)


class Lookahead(NamedTuple):
    """One step ahead of a belief, by action: the mass of what is entered and seen, [S, O]; upper and lower bounds of
    what that is worth by observation, [O]; the plans [O] behind the lower; the bounds of each action's value [A]."""

    entered: list[np.ndarray]
    above: list[np.ndarray]
    below: list[np.ndarray]
    plan: list[np.ndarray]
    upper: np.ndarray
    lower: np.ndarray


class Search:
    """Both bounds of a task's history value, and the trials that close them.

    informed: [H, A, S], the fast informed bound by step, see `bounds.fast_informed_bound`. work: products of numbers
    that trials have taken so far.
    """

    def __init__(self, task: TabularPOMDP, informed: np.ndarray) -> None:
        self.kernel, self.discount, self.horizon = task.kernel, task.discount, task.horizon
        self.shows = [show.toarray() for show in self.kernel.shows]
        self.start = self.kernel.start
        # By steps to go; with none, nothing is earned.
        zero = np.zeros((1, task.num_states))
        self.points = [Points.none(each) for each in (zero, *informed[::-1])]
        self.plans = [Plans(zero, np.zeros(1, int), np.zeros((1, task.num_observations), int))]
        self.plans += list(self._blind())
        self.scale = max(1e-300, float(np.abs(informed[0]).max()))
        self.work = 0

    def _blind(self) -> Iterator[Plans]:
        """The same action at every step, with 1, 2, ... steps to go."""
        actions = np.arange(self.kernel.num_actions)
        alpha = np.zeros_like(self.kernel.reward)
        same = np.repeat(actions[:, None], self.kernel.num_observations, 1)
        for to_go in range(1, self.horizon + 1):
            ahead = np.stack([move @ row for move, row in zip(self.kernel.moves, alpha, strict=True)])
            alpha = self.kernel.reward + self.discount * ahead
            yield Plans(alpha, actions, same if to_go > 1 else np.zeros_like(same))

    def ends(self) -> tuple[float, float]:
        """The bounds at the start."""
        return float(self.plans[-1].best(self.start)[0].sum()), float(self.points[-1].at(self.start).sum())

    def trial(self, tolerance: float) -> None:
        """One path from the start to where the bounds are closer than `tolerance`, and back."""
        gap = self.points[-1].at(self.start) - self.plans[-1].best(self.start)[0]
        belief, path = self.start[:, (gap - tolerance * self.start.sum(0)).argmax()], []
        for to_go in range(self.horizon, 0, -1):
            path.append((to_go, belief))
            lookahead = self.look(belief, to_go)
            action = lookahead.upper.argmax()
            # Where every belief's bounds were so close, discounted to the start, those of the start would be.
            allowed = tolerance * self.discount ** (to_go - self.horizon - 1) * lookahead.entered[action].sum(0)
            excess = lookahead.above[action] - lookahead.below[action] - allowed
            seen = excess.argmax()
            if excess[seen] <= 0:
                break
            belief = lookahead.entered[action][:, seen]
        for to_go, belief in reversed(path):
            self.back_up(belief, to_go)

    def look(self, belief: np.ndarray, to_go: int) -> Lookahead:
        """What each action leads to from a belief [S]."""
        sides = [self._entered(action, belief, to_go - 1) for action in range(self.kernel.num_actions)]
        entered, above, below, plan = map(list, zip(*sides, strict=True))
        now = self.kernel.reward @ belief
        upper, lower = (now + self.discount * np.array([each.sum() for each in side]) for side in (above, below))
        return Lookahead(entered, above, below, plan, upper, lower)

    def _entered(self, action: int, belief: np.ndarray, to_go: int) -> tuple[np.ndarray, ...]:
        """An action's entries of `Lookahead`; only what can be seen is looked up."""
        points, plans = self.points[to_go], self.plans[to_go]
        mass = (belief @ self.kernel.moves[action])[:, None] * self.shows[action]
        seen = np.flatnonzero(mass.any(0))
        above, below, plan = np.zeros(mass.shape[1]), np.zeros(mass.shape[1]), np.zeros(mass.shape[1], int)
        above[seen] = points.at(mass[:, seen])
        below[seen], plan[seen] = plans.best(mass[:, seen])
        self.work += OVERHEAD + len(seen) * (plans.alpha.size + points.informed.size + len(points.states))
        return mass, above, below, plan

    def back_up(self, belief: np.ndarray, to_go: int) -> None:
        """Bring both bounds at a belief [S] up to date with those one step on."""
        lookahead, points, plans = self.look(belief, to_go), self.points[to_go], self.plans[to_go]
        enough = NEGLIGIBLE * self.scale * belief.sum()
        if (upper := lookahead.upper.max()) < points.at(belief[:, None])[0] - enough:
            points.add(belief / belief.sum(), upper / belief.sum())
        action = int(lookahead.lower.argmax())
        if lookahead.lower[action] > plans.best(belief[:, None])[0][0] + enough:
            successor = lookahead.plan[action]
            following = self.plans[to_go - 1].alpha[successor]
            ahead = self.kernel.moves[action] @ np.einsum("so,os->s", self.shows[action], following)
            plans.add(self.kernel.reward[action] + self.discount * ahead, action, successor)

    def controller(self) -> Controller:
        """Of the plans that stand: one node for each."""
        steps = [(plans.action, plans.successor) for plans in self.plans[:0:-1]]
        return joined(steps, self.plans[-1].best(self.start)[1])


def closed(task: TabularPOMDP, informed: np.ndarray, tolerance: float, budget: float) -> Ends:
    """Trials until the ends are within `tolerance`, or the work is done that the budget allows.

    Args: budget: products of numbers, which bounds the work whatever the machine is.
    """
    search, trials = Search(task, informed), 0
    lower, upper = search.ends()
    while upper - lower > tolerance and search.work < budget:
        search.trial(tolerance)
        trials += 1
        lower, upper = search.ends()
    return Ends(lower, upper, search.controller(), trials)
