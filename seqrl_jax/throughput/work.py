"""What a program asks for, counted in its jaxpr before the compiler sees it.

Each equation counts as often as the loops around it run; a loop of which nobody knows how often it runs counts once, of
a branch the least of its ways, and what nobody reads not at all. As moved counts what no fusion keeps from memory: what
loops read and write step by step, or what the program is given and gives, whichever is more.

Source: Williams, Waterman & Patterson (2009), "Roofline".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.interpreters.partial_eval import dce_jaxpr

# fmt: off
TRANSCENDENTAL = frozenset((
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "digamma", "erf", "erf_inv",
    "erfc", "exp", "exp2", "expm1", "lgamma", "log", "log1p", "logistic", "pow", "rsqrt", "sin", "sinh", "sqrt", "tan",
    "tanh",
))
ARITHMETIC = frozenset((
    "abs", "add", "add_any", "and", "ceil", "clamp", "cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "div",
    "eq", "floor", "ge", "gt", "integer_pow", "is_finite", "le", "lt", "max", "min", "mul", "ne", "neg", "nextafter",
    "not", "or", "rem", "round", "select_n", "shift_left", "shift_right_arithmetic", "shift_right_logical", "sign",
    "square", "sub", "xor",
))
REDUCTIONS = frozenset((
    "argmax", "argmin", "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod", "reduce_sum",
))
# fmt: on
"""These take an operation for each number that they read."""


@dataclass(frozen=True)
class Work:
    """Amounts of work, or what a device does of each in a second.

    products: operations of matrix products, two for a multiplication and its addition. arithmetic: other operations.
    transcendental: exponentials, logarithms and their like. random: blocks that are hashed, one for each number or key.
    moved: bytes that are read or written.
    """

    products: float = 0.0
    arithmetic: float = 0.0
    transcendental: float = 0.0
    random: float = 0.0
    moved: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(self.amounts, other.amounts, strict=True)))

    def __mul__(self, times: float) -> Work:
        return Work(*(times * amount for amount in self.amounts))

    @property
    def amounts(self) -> tuple[float, ...]:
        return tuple(asdict(self).values())


def seconds_of(work: Work, ceilings: Work) -> dict[str, float]:
    """How long the device needs for each kind of work by itself, at full speed."""
    at_full_speed = asdict(ceilings)
    return {kind: amount / at_full_speed[kind] for kind, amount in asdict(work).items()}


def least_seconds(work: Work, ceilings: Work) -> tuple[float, str]:
    """How long the device needs for the kind of work that takes it longest, at full speed, and which that is.

    An estimate: amounts are asked for, not what is left of them by the compiler, and a ceiling is what one program
    reached.

    Args: ceilings: what the device does in a second.
    """
    seconds, kind = max((seconds, kind) for kind, seconds in seconds_of(work, ceilings).items())
    return seconds, kind


def work_of(program: ClosedJaxpr) -> Work:
    """Of one call of a program."""
    jaxpr, _ = dce_jaxpr(program.jaxpr, [True] * len(program.jaxpr.outvars))
    inside = _inside(jaxpr)
    given = _bytes(jaxpr.invars) + _bytes(jaxpr.constvars) + _bytes(jaxpr.outvars)
    # What loops read and write is mostly what the program is given and gives.
    return replace(inside, moved=max(inside.moved, given))


def _inside(jaxpr: Jaxpr) -> Work:
    return sum((_of_equation(equation) for equation in jaxpr.eqns), Work())


def _of_equation(equation: Any) -> Work:
    name, params = equation.primitive.name, equation.params
    if name == "scan":
        first = params["num_consts"] + params["num_carry"]
        moved = _bytes(equation.invars[first:]) + _bytes(equation.outvars[params["num_carry"] :])
        return _inside(params["jaxpr"].jaxpr) * params["length"] + Work(moved=moved)
    if name == "cond":
        ways = [_inside(branch.jaxpr) for branch in params["branches"]]
        return Work(*(min(amounts) for amounts in zip(*(way.amounts for way in ways), strict=True)))
    inner = list(_jaxprs(params.values()))
    if inner:
        return sum((_inside(jaxpr) for jaxpr in inner), Work())
    made = sum(math.prod(var.aval.shape) for var in equation.outvars)
    if name == "dot_general":
        (left, _), _ = params["dimension_numbers"]
        return Work(products=2.0 * made * math.prod(equation.invars[0].aval.shape[axis] for axis in left))
    if name == "conv_general_dilated":
        kernel, numbers = equation.invars[1].aval.shape, params["dimension_numbers"]
        return Work(products=2.0 * made * math.prod(kernel) / kernel[numbers.rhs_spec[0]])
    if name in ("random_bits", "random_split", "random_fold_in"):
        return Work(random=float(made))
    if name in TRANSCENDENTAL:
        return Work(transcendental=float(made))
    if name in ARITHMETIC:
        return Work(arithmetic=float(made))
    if name in REDUCTIONS:
        return Work(arithmetic=float(math.prod(equation.invars[0].aval.shape)))
    return Work()


def _jaxprs(values: Any) -> Iterator[Jaxpr]:
    for value in values:
        if isinstance(value, ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, Jaxpr):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _jaxprs(value)


def _bytes(variables: Sequence[Any]) -> float:
    return float(sum(math.prod(var.aval.shape) * var.aval.dtype.itemsize for var in variables))
