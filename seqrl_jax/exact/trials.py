"""Both ends of the history value, closed where they matter: trials that follow the gap between two bounds.

Below stand plans, of which each is an alpha vector, the exact value of acting by it from every state; above stand
points, beliefs whose value is known not to be more. There is a set of each for every number of steps to go, or, over
an infinite horizon, one for all. A trial begins at the start, acts by the upper bound, goes on with the observation
behind which the bounds are furthest apart, weighted by its probability, and brings both bounds up to date on its way
back. All bounds are homogeneous, f(c b) = c f(b), so that beliefs need not be normalised. What is not added because it
gains too little widens the gap between the bounds and falsifies neither.

Source: Smith & Simmons (2004), Heuristic search value iteration for POMDPs; Hauskrecht (2000), section 4.4, for the
interpolation between a point and the corners of the simplex.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from seqrl_jax.exact.budget import Meter, Watch
from seqrl_jax.exact.controller import Controller
from seqrl_jax.exact.plans import joined
from seqrl_jax.exact.rows import Rows
from seqrl_jax.tasks.kernel import Kernel
from seqrl_jax.tasks.tables import row_numbers
from seqrl_jax.tasks.tabular import TabularPOMDP

OVERHEAD = 1_000_000
"""What it takes to look one step ahead, however small the task is, in products of numbers."""
NEGLIGIBLE = 1e-12
"""Of a bound's size: what a backup has to gain for its point or plan to be kept."""
CROWDED = 1.5
"""Points are sifted whenever there are so many times as many as were left the last time."""
FEW = 64
"""So many points are not worth sifting."""
SCREENED = 5
"""So many states of a point say of most beliefs that another point is better."""
FIRST_MARK = 0.02
"""Of the budget: what is spent before the impatient look whether the ends come together."""
STALLED = 0.9
"""Twice the work has to bring the gap below so much of what it was, or trials have stalled."""


class Plans:
    """Lower bounds with so many steps to go: plans, of which those stand that no other one is as good as everywhere.

    alpha: [K, S], what each that stands earns from every state. node: [K], its number among all N that were added.
    action: [N]. successor: [N, O], the number of the plan that follows each observation.
    """

    def __init__(self, alpha: np.ndarray, action: np.ndarray, successor: np.ndarray) -> None:
        self._alpha, self._node = Rows(alpha), Rows(np.arange(len(alpha)))
        self._action, self._successor = Rows(action), Rows(successor)

    alpha = property(lambda self: self._alpha.all)
    node = property(lambda self: self._node.all)
    action = property(lambda self: self._action.all)
    successor = property(lambda self: self._successor.all)

    def best(self, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The value [N] of beliefs, the columns of [S, N], and which of the plans that stand it is."""
        values = self.alpha @ mass
        which = values.argmax(0)
        return values[which, np.arange(mass.shape[1])], which

    def add(self, alpha: np.ndarray, action: int, successor: np.ndarray) -> None:
        """A plan; those that it is as good as in every state no longer stand."""
        worse = (self.alpha <= alpha).all(1)
        if worse.any():
            self._alpha, self._node = Rows(self.alpha[~worse]), Rows(self.node[~worse])
        self._alpha.add(alpha[None])
        self._node.add(np.array([len(self.action)]))
        self._action.add(np.array([action]))
        self._successor.add(successor[None])


class Points:
    """Upper bounds with so many steps to go: what the state's being seen one step late allows, and P points below it.

    informed: [A, S], of the fast informed bound. corners: [S], the bound where the state is known. states, share: the
    points' beliefs [nnz], one behind the other, each begun with its largest shares; begins, lengths: [P], where in them
    a point stands. value: [P], the bound at each. drop: [P], how far that lies below what the corners say.
    """

    def __init__(self, informed: np.ndarray) -> None:
        self.informed, self.corners = informed, informed.max(0)
        self._states, self._share = Rows(np.zeros(0, int)), Rows(np.zeros(0))
        self._begins, self._lengths = Rows(np.zeros(0, int)), Rows(np.zeros(0, int))
        self._value, self._drop = Rows(np.zeros(0)), Rows(np.zeros(0))
        self._crowd = FEW

    states = property(lambda self: self._states.all)
    share = property(lambda self: self._share.all)
    begins = property(lambda self: self._begins.all)
    lengths = property(lambda self: self._lengths.all)
    value = property(lambda self: self._value.all)
    drop = property(lambda self: self._drop.all)

    @property
    def beliefs(self) -> sparse.csc_array:
        """[S, P]"""
        pointers = np.append(self.begins, len(self.states))
        return sparse.csc_array((self.share, self.states, pointers), shape=(len(self.corners), len(self.value)))

    def coarse(self, mass: np.ndarray) -> np.ndarray:
        """The bound [N] without the points, at beliefs, the columns of [S, N]."""
        return (self.informed @ mass).max(0)

    def at(self, mass: np.ndarray) -> np.ndarray:
        """The bound [N] at beliefs, the columns of [S, N]."""
        return np.minimum(self.coarse(mass), self.corners @ mass - self.nearest(mass)[1])

    def nearest(self, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of beliefs [S, N], the point that most brings down what the corners say, [N], and by how much, [N]."""
        beliefs = np.arange(mass.shape[1])
        if not len(self.value):
            return np.zeros(len(beliefs), int), np.zeros(len(beliefs))
        most = self._most(mass)
        nearest = most.argmax(0)
        brought = self._exactly(mass, nearest, beliefs)
        point, belief = np.nonzero(most > brought)
        others = self._exactly(mass, point, belief)
        better = np.flatnonzero(others > brought[belief])
        for k in better[np.argsort(others[better], kind="stable")]:
            nearest[belief[k]], brought[belief[k]] = point[k], others[k]
        return nearest, brought

    def add(self, belief: np.ndarray, value: float) -> None:
        """A point: `value` bounds the value of this belief, [S]."""
        states = np.flatnonzero(belief)
        states = states[np.argsort(-belief[states], kind="stable")]
        self._begins.add(np.array([len(self.states)]))
        self._lengths.add(np.array([len(states)]))
        self._states.add(states)
        self._share.add(belief[states])
        self._value.add(np.array([value]))
        self._drop.add(np.array([self.corners @ belief - value]))
        if len(self.value) > self._crowd:
            self._sift()
            self._crowd = max(FEW, int(CROWDED * len(self.value)))

    def lower_to(self, corners: np.ndarray, value: np.ndarray) -> None:
        """Bounds [S] of the corners and [P] of the points, none of them above those that stood."""
        self.corners, self._value = corners, Rows(value)
        self._drop = Rows(self.beliefs.T @ corners - value)
        self._sift()

    def _most(self, mass: np.ndarray) -> np.ndarray:
        """[P, N]: by no more than this a point brings down the bound at a belief, by its largest shares alone."""
        entry = self.begins + np.minimum(np.arange(SCREENED)[:, None], self.lengths - 1)
        return (mass[self.states[entry]] / self.share[entry][..., None]).min(0) * self.drop[:, None]

    def _exactly(self, mass: np.ndarray, point: np.ndarray, belief: np.ndarray) -> np.ndarray:
        """[K]: by how much points [K] bring down the bound at beliefs [K], numbers of columns of `mass`. A belief holds
        as much of a point as there is for the scarcest of its states, and else corners."""
        if not len(point):
            return np.zeros(0)
        lengths = self.lengths[point]
        begins = lengths.cumsum() - lengths
        entry = np.arange(lengths.sum()) + np.repeat(self.begins[point] - begins, lengths)
        held = mass[self.states[entry], np.repeat(belief, lengths)] / self.share[entry]
        return np.minimum.reduceat(held, begins) * self.drop[point]

    def _sift(self) -> None:
        """Drop the points at whose beliefs another one, or the corners, say as much; of equal ones the first stays."""
        count, beliefs = len(self.value), self.beliefs
        kept = self.drop > 0
        for begin in range(0, count, FEW):
            chunk = np.arange(begin, min(begin + FEW, count))
            mass = beliefs[:, chunk].toarray()
            most = self._most(mass)
            most[chunk, chunk - begin] = -np.inf
            point, belief = np.nonzero(most >= self.drop[chunk])
            brought, own = self._exactly(mass, point, belief), self.drop[chunk[belief]]
            better = (brought > own) | ((brought == own) & (point < chunk[belief]))
            kept[chunk[belief[better]]] = False
        self.keep(kept)

    def keep(self, kept: np.ndarray) -> None:
        """Drop the points that are not among these, [P] bool."""
        mine, lengths = np.repeat(kept, self.lengths), self.lengths[kept]
        self._states, self._share = Rows(self.states[mine]), Rows(self.share[mine])
        self._value, self._drop = Rows(self.value[kept]), Rows(self.drop[kept])
        self._begins, self._lengths = Rows(lengths.cumsum() - lengths), Rows(lengths)


class Lookahead(NamedTuple):
    """One step ahead of a belief. entered: [S, N], what can be entered and seen, by pairs of an action [N] and an
    observation [N]; upper and lower bounds of what that is worth, both [N]; the plan [N] behind the lower, among those
    that stand; the bounds of each action's value, [A]."""

    entered: np.ndarray
    action: np.ndarray
    observation: np.ndarray
    above: np.ndarray
    below: np.ndarray
    plan: np.ndarray
    upper: np.ndarray
    lower: np.ndarray


class Search:
    """Both bounds of a task's history value, and the trials that close them.

    plans, points: by steps to go, from 0 to the longest trial; the same object at every place where one set serves for
    all. scale: the size of the values. meter: counts the work. trials,
    looks: how many were made.
    """

    def __init__(
        self,
        kernel: Kernel,
        discount: float,
        plans: Sequence[Plans],
        points: Sequence[Points],
        scale: float,
        meter: Meter,
    ) -> None:
        self.kernel, self.discount = kernel, discount
        self.plans, self.points = plans, points
        self.scale, self.meter = scale, meter
        self.shown, joint = kernel.first
        self.start = joint.T
        self._moves = sparse.csr_array(sparse.hstack(kernel.moves).T)
        shows = sparse.csr_array(sparse.vstack(kernel.shows))
        # By what can be seen: the action and state entered, how likely it is there, and with which action what is seen.
        self._row, self._likely = row_numbers(shows), shows.data
        self._state = self._row % kernel.num_states
        self._arrival = self._row // kernel.num_states * kernel.num_observations + shows.indices
        self.trials = self.looks = 0

    def ends(self) -> tuple[float, float]:
        """The bounds at the start."""
        return float(self.plans[-1].best(self.start)[0].sum()), float(self.points[-1].at(self.start).sum())

    def trial(self, tolerance: float) -> None:
        """One path from the start to where the bounds are closer than `tolerance`, and back."""
        longest = len(self.plans) - 1
        gap = self.points[-1].at(self.start) - self.plans[-1].best(self.start)[0]
        belief, path = self.start[:, (gap - tolerance * self.start.sum(0)).argmax()], []
        for to_go in range(longest, 0, -1):
            path.append((to_go, belief))
            ahead = self.look(belief, to_go)
            mine = np.flatnonzero(ahead.action == ahead.upper.argmax())
            # Where every belief's bounds were so close, discounted to the start, those of the start would be.
            allowed = tolerance * self.discount ** (to_go - longest - 1) * ahead.entered[:, mine].sum(0)
            excess = ahead.above[mine] - ahead.below[mine] - allowed
            if not len(mine) or excess.max() <= 0:
                break
            belief = ahead.entered[:, mine[excess.argmax()]]
        for to_go, belief in reversed(path):
            self.back_up(belief, to_go)
        self.trials += 1

    def entered(self, belief: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What can be entered and seen from a belief [S]: mass [S, N], by which action and observation, both [N]."""
        likely = (self._moves @ belief)[self._row] * self._likely
        some = np.flatnonzero(likely)
        arrival, num_o = self._arrival[some], self.kernel.num_observations
        met = np.zeros(self.kernel.num_actions * num_o, bool)
        met[arrival] = True
        seen = np.flatnonzero(met)
        mass = np.zeros((self.kernel.num_states, len(seen)))
        mass[self._state[some], (met.cumsum() - 1)[arrival]] = likely[some]
        return mass, *np.divmod(seen, num_o)

    def look(self, belief: np.ndarray, to_go: int) -> Lookahead:
        """What each action leads to from a belief [S]."""
        points, plans = self.points[to_go - 1], self.plans[to_go - 1]
        mass, action, observation = self.entered(belief)
        below, plan = plans.best(mass)
        now = self.kernel.reward @ belief
        lower = now + self.discount * np.bincount(action, below, self.kernel.num_actions)
        above = points.coarse(mass)
        upper, fine = (
            now + self.discount * np.bincount(action, above, self.kernel.num_actions),
            np.zeros(len(now), bool),
        )
        # An action that the points have brought below the coarse bound of another waits for that one's points.
        while not fine[a := upper.argmax()]:
            mine = action == a
            above[mine] = points.at(mass[:, mine])
            upper[a], fine[a] = now[a] + self.discount * above[mine].sum(), True
        entries = plans.alpha.size + points.informed.size + len(points.states)
        self.looks += 1
        self.meter.work += OVERHEAD + len(self._row) + len(action) * entries
        return Lookahead(mass, action, observation, above, below, plan, upper, lower)

    def back_up(self, belief: np.ndarray, to_go: int) -> None:
        """Bring both bounds at a belief [S] up to date with those one step on."""
        ahead, points, plans = self.look(belief, to_go), self.points[to_go], self.plans[to_go]
        total = belief.sum()
        enough = NEGLIGIBLE * self.scale * total
        if (upper := ahead.upper.max()) < points.at(belief[:, None])[0] - enough:
            points.add(belief / total, upper / total)
        action = int(ahead.lower.argmax())
        if ahead.lower[action] > plans.best(belief[:, None])[0][0] + enough:
            mine, after = ahead.action == action, self.plans[to_go - 1]
            # Behind what cannot be seen from here any plan may stand: the one that is best for the belief as it is.
            plan = np.full(self.kernel.num_observations, after.best(belief[:, None])[1][0])
            plan[ahead.observation[mine]] = ahead.plan[mine]
            show = self.kernel.shows[action]
            state = row_numbers(show)
            expected = np.bincount(state, show.data * after.alpha[plan[show.indices], state], len(belief))
            alpha = self.kernel.reward[action] + self.discount * (self.kernel.moves[action] @ expected)
            plans.add(alpha, action, after.node[plan])

    def close(
        self,
        tolerance: float,
        watch: Watch,
        known: tuple[float, float] = (-np.inf, np.inf),
        patient: bool = True,
        eager: float = 0.0,
    ) -> None:
        """Trials until the ends are within `tolerance`, the memory is full, or the budget is spent.

        known: bounds by other means. patient: whether to go on where twice the work hardly brings the ends together.
        eager: how much of the gap at the start a trial leaves open at least.
        """
        gap = self._gap(watch, known)
        marked, mark = gap, max(FIRST_MARK, 2 * self.meter.spent())
        while gap > tolerance and self.meter.spent() < 1 and self._bytes() < self.meter.budget.memory:
            self.trial(max(tolerance, eager * gap))
            gap = self._gap(watch, known)
            if not patient and self.meter.spent() > mark:
                if gap > STALLED * marked:
                    return
                marked, mark = gap, 2 * self.meter.spent()

    def _gap(self, watch: Watch, known: tuple[float, float]) -> float:
        lower, upper = self.ends()
        lower, upper = max(lower, known[0]), min(upper, known[1])
        watch(lower, upper)
        return upper - lower

    def _bytes(self) -> int:
        plans, points = set(self.plans), set(self.points)
        entries = sum(each.alpha.size + each.successor.size for each in plans) + sum(
            2 * len(each.states) for each in points
        )
        return 8 * entries


def by_steps(task: TabularPOMDP, informed: np.ndarray, meter: Meter) -> Search:
    """The search over the task's horizon, which begins with the same action at every step, and with the fast informed
    bound.

    Args: informed: [H, A, S], by step, see `bounds.fast_informed_bound`.
    """
    zero = np.zeros((1, task.num_states))
    points = [Points(each) for each in (zero, *informed[::-1])]
    nothing = Plans(zero, np.zeros(1, int), np.zeros((1, task.num_observations), int))
    scale = max(1e-300, float(np.abs(informed[0]).max()))
    return Search(task.kernel, task.discount, [nothing, *_constant(task)], points, scale, meter)


def _constant(task: TabularPOMDP) -> Iterator[Plans]:
    """The same action at every step, with 1, 2, ... steps to go."""
    kernel = task.kernel
    actions = np.arange(kernel.num_actions)
    alpha = np.zeros_like(kernel.reward)
    same = np.repeat(actions[:, None], kernel.num_observations, 1)
    for to_go in range(1, task.horizon + 1):
        ahead = np.stack([move @ row for move, row in zip(kernel.moves, alpha, strict=True)])
        alpha = kernel.reward + task.discount * ahead
        yield Plans(alpha, actions, same if to_go > 1 else np.zeros_like(same))


def plans_by_step(search: Search) -> Controller:
    """What a search `by_steps` proves its lower end with: one node for each plan."""
    steps = [(plans.action, plans.successor) for plans in search.plans[:0:-1]]
    return joined(steps, first_plans(search))


def first_plans(search: Search) -> np.ndarray:
    """[O]: the number of the plan that is best after each first observation."""
    plans, after = search.plans[-1], np.zeros(search.kernel.num_observations, int)
    after[search.shown] = plans.node[plans.best(search.start)[1]]
    return after
