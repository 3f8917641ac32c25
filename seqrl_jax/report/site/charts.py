"""The geometry of a chart: where its lines, bands, levels and ticks lie. A template writes it as SVG, whose colours are
those of the page, and a script reads the values beside each line.

Coordinates are those of a view of WIDTH x HEIGHT; numbers are written with four significant figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from seqrl_jax.report.pictures import Dash, spread
from seqrl_jax.report.words import figures

WIDTH, HEIGHT = 790, 330
LEFT, RIGHT, TOP, BOTTOM = 62, 596, 10, 284
"""Of the plot within the view; the names of levels stand at its right."""
TICKS = 5
LABEL_GAP = 15.0
NAME_ROOM = 130.0
PARTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of a line's places, which a chart's table shows."""
MOST_COLUMNS = 12
"""Of places that all stand in a chart's table."""
Place = Callable[[float], float]
"""From a number to a coordinate."""


@dataclass(frozen=True)
class Line:
    """What is drawn of one thing: middle [E] between low [E] and high [E], at increasing places [E].

    colour: its place in the palette.
    """

    label: str
    colour: int
    dash: Dash
    at: Sequence[float]
    middle: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class Level:
    """A value that is known to lie in [low, high]."""

    label: str
    low: float
    high: float


@dataclass(frozen=True)
class DrawnLine:
    """path, band: SVG path data; band is empty where there is nothing between.

    point, name_at: (x, y) of a line of one place, and of its name where there is room.
    read: what a script reads, numbers with blanks between: "mean", "low" and "high" where they differ from it, and "at"
        where the places are not those of the line before.
    """

    line: Line
    path: str
    band: str
    point: tuple[str, str] | None
    name_at: tuple[str, str] | None
    read: Mapping[str, str]

    @property
    def shown(self) -> list[str]:
        """The values at `PARTS` of the places."""
        last = len(self.line.at) - 1
        return [figures(self.line.middle[round(part * last)]) for part in PARTS]

    def shown_at(self, places: Sequence[float]) -> list[str]:
        """The values at these places, a dash where there is none."""
        measured = dict(zip(self.line.at, self.line.middle))
        return [figures(measured.get(place)) for place in places]

    @property
    def as_point(self) -> list[str]:
        """The place of a line of one, and its value with its interval."""
        middle, low, high = (figures(values[0]) for values in (self.line.middle, self.line.low, self.line.high))
        return [exactly(self.line.at[0]), middle if low == high else f"{middle} [{low}, {high}]"]


@dataclass(frozen=True)
class DrawnLevel:
    """y: of its low end. top, height: of the band up to its high end. label_y: where its name has room."""

    level: Level
    y: str
    top: str
    height: str
    label_y: str
    dash: int


@dataclass(frozen=True)
class Chart:
    """Ticks are (coordinate, text). places: the ends of the x axis, as a script reads them, their logarithms to base 10
    where the axis is logarithmic. points: whether no line has more than one place."""

    x: str
    y: str
    x_ticks: Sequence[tuple[str, str]]
    y_ticks: Sequence[tuple[str, str]]
    lines: Sequence[DrawnLine]
    levels: Sequence[DrawnLevel]
    places: tuple[str, str]
    logarithmic: bool
    points: bool
    summary: str

    @property
    def columns(self) -> list[str]:
        """The header of the chart as a table."""
        if self.points:
            return ["agent", self.x, self.y]
        return [f"{self.y} at", *(map(short, self._every_place) if self.logarithmic else map("{:.0%}".format, PARTS))]

    @property
    def table(self) -> list[tuple[str, list[str]]]:
        """(label, entries) of each line."""
        if self.points:
            entries = lambda line: line.as_point
        elif self.logarithmic:
            entries = lambda line: line.shown_at(self._every_place)
        else:
            entries = lambda line: line.shown
        return [(line.line.label, entries(line)) for line in self.lines]

    @property
    def _every_place(self) -> list[float]:
        """At which any line is, as many as a table has room for."""
        return sorted({place for line in self.lines for place in line.line.at})[:MOST_COLUMNS]


def chart(
    lines: Sequence[Line],
    levels: Sequence[Level],
    x: str,
    y: str,
    limits: tuple[float, float],
    summary: str,
    logarithmic: bool = False,
) -> Chart:
    """Lines and levels laid out.

    Args:
        x, y: labels of the axes. limits: of the y axis; what lies outside is cut off. summary: the chart in words.
        logarithmic: the x axis, whose places are then positive.
    """
    low, high = limits
    placed = math.log10 if logarithmic else float
    places = [placed(place) for line in lines for place in line.at]
    first, last = (min(places, default=0.0), max(places, default=1.0))
    first = first if logarithmic else min(0.0, first)
    last = last if last > first else first + max(1.0, abs(first))
    across = lambda place: LEFT + (RIGHT - LEFT) * (placed(place) - first) / (last - first)
    down = lambda value: BOTTOM - (BOTTOM - TOP) * (min(max(value, low), high) - low) / (high - low)
    at_x = ticks_of_powers(first, last) if logarithmic else ticks(first, last)
    return Chart(
        x=x,
        y=y,
        x_ticks=[(_point(across(tick)), short(tick)) for tick in at_x],
        y_ticks=[(_point(down(tick)), figures(tick)) for tick in ticks(low, high)],
        lines=_named([_drawn(line, before, across, down) for before, line in zip([None, *lines], lines)]),
        levels=_levels(levels, down),
        places=(exactly(first), exactly(last)),
        logarithmic=logarithmic,
        points=all(len(line.at) == 1 for line in lines),
        summary=summary,
    )


def ticks(low: float, high: float) -> list[float]:
    """About `TICKS` round numbers within [low, high]."""
    step = 10.0 ** math.floor(math.log10((high - low) / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= TICKS + 1)
    return [step * number for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def ticks_of_powers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten whose logarithms lie within [low, high]; the powers alone where those are
    many, and the ends where they are not two."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    every = [(factor, factor * 10.0**power) for power in powers for factor in (1, 2, 5)]
    within = [(factor, tick) for factor, tick in every if low <= math.log10(tick) <= high]
    if len(within) < 2:
        return [10.0**low, 10.0**high]
    return [tick for factor, tick in within if factor == 1 or len(within) <= MOST_COLUMNS]


def exactly(number: float) -> str:
    """A place on the x axis, with seven significant figures."""
    return f"{number:.7g}"


def short(number: float) -> str:
    """A number with a prefix for thousands and millions: `150k`."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= factor:
            return f"{number / factor:.3g}{prefix}"
    return f"{number:.3g}"


def _drawn(line: Line, before: Line | None, across: Place, down: Place) -> DrawnLine:
    xs = list(map(across, line.at))
    row = lambda values: list(zip(xs, map(down, values)))
    numbers = lambda values: " ".join(map(figures, values))
    read = {"mean": numbers(line.middle)}
    wide = any(a != b for a, b in zip(line.low, line.high))
    if wide:
        read |= {"low": numbers(line.low), "high": numbers(line.high)}
    if before is None or list(before.at) != list(line.at):
        read["at"] = " ".join(map(exactly, line.at))
    if len(xs) == 1:
        return DrawnLine(line, "", "", (_point(xs[0]), _point(down(line.middle[0]))), None, read)
    band = f"{_path([*row(line.high), *reversed(row(line.low))])}Z" if wide else ""
    return DrawnLine(line, _path(row(line.middle)), band, None, None, read)


def _path(points: Sequence[tuple[float, float]]) -> str:
    """SVG path data of lines through these points: where they begin, and the steps from there, in whole units of the
    view. A unit is about a pixel, and a site has some 10^5 points."""
    (x, y), *others = [(round(x), round(y)) for x, y in points]
    steps = [f"M{x} {y}l"]
    for x_t, y_t in others:
        steps.append(f"{x_t - x} {y_t - y}")
        x, y = x_t, y_t
    # A minus sign parts numbers as well as a blank.
    return " ".join(steps).replace("l ", "l").replace(" -", "-")


def _named(lines: Sequence[DrawnLine]) -> list[DrawnLine]:
    """With the names of points at their right or a line higher or lower, those for which there is room."""
    taken: list[tuple[float, float]] = []
    named = []
    for line in lines:
        if line.point is not None:
            x, y = float(line.point[0]) + 9, float(line.point[1])
            free = lambda at, x=x: all(abs(x - a) > NAME_ROOM or abs(at - b) >= LABEL_GAP for a, b in taken)
            at = next((place for place in (y, y + LABEL_GAP, y - LABEL_GAP) if free(place)), None)
            if at is not None:
                taken.append((x, at))
                line = replace(line, name_at=(_point(x), _point(at)))
        named.append(line)
    return named


def _levels(levels: Sequence[Level], down: Place) -> list[DrawnLevel]:
    """Names at the right are moved apart, from the lowest up."""
    order = sorted(range(len(levels)), key=lambda index: levels[index].low)
    heights = [BOTTOM - down(levels[index].low) for index in order]
    room = dict(zip(order, spread(heights, LABEL_GAP, BOTTOM - TOP)))
    return [
        DrawnLevel(
            level=level,
            y=_point(down(level.low)),
            top=_point(down(level.high)),
            height=_point(down(level.low) - down(level.high)),
            label_y=_point(BOTTOM - room[index]),
            dash=index,
        )
        for index, level in enumerate(levels)
    ]


def _point(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
