"""From seeds to reference policies, from those to aligned ones, and what these are worth: all seeds in one program,
laid over all devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Sharding

from seqrl_jax.devices import Spread, over_devices
from seqrl_jax.keys import key_of
from seqrl_jax.lm import exact
from seqrl_jax.lm.evaluation import Judge, judge
from seqrl_jax.lm.method import Method
from seqrl_jax.lm.sft import Supervised
from seqrl_jax.lm.stage import Aligning, Running, Stage, advance, begin, end
from seqrl_jax.lm.tasks import LMTask
from seqrl_jax.lm.tuned import with_settings
from seqrl_jax.networks.language_model import LanguageModel
from seqrl_jax.networks.module import Weights

REFERENCE_STREAM = 2**31
"""Sets the training of references apart from all that begins with them."""


def keys_of(seeds: Sequence[int]) -> Array:
    """[S]"""
    return jnp.stack([key_of(seed) for seed in seeds])


def references(model: LanguageModel, task: LMTask, supervised: Supervised, seeds: Sequence[int]) -> Judge:
    """pi_0 of every seed, trained, and the judge that knows them."""
    spread = over_devices(len(seeds))
    keys = spread.lay(keys_of(seeds))
    # Not the key itself, from which the stages of the methods follow.
    own = lambda key: jax.random.fold_in(key, REFERENCE_STREAM)
    train = jax.jit(jax.vmap(lambda key: supervised.train(own(key), model, task)[0]), out_shardings=spread.sharding)
    return judge(model, task, gathered(spread, train(keys)))


def trained(
    method: Method, judge: Judge, seeds: Sequence[int], sweep: Mapping[str, Sequence[float]] | None = None
) -> Weights:
    """[K * S, ...]: the policies of a method, one from each of the judge's references for each of K settings, in one
    program. sweep: float setting -> its K values, a setting of a part as `part.setting`; None: the method as it is."""
    values = {name: jnp.asarray(column, jnp.float32) for name, column in (sweep or {}).items()}
    count = len(next(iter(values.values()))) if values else 1
    settings = {name: jnp.repeat(column, len(seeds)) for name, column in values.items()}
    repeated = judge.repeated(count)

    def align(key: Array, reference: Weights, setting: Mapping[str, Array]) -> Weights:
        return with_settings(method, setting).align(key, judge.model, judge.task, reference)

    keys = jnp.tile(keys_of(seeds), count)
    return jax.jit(jax.vmap(align))(keys, repeated.weights, settings)


class StagePrograms(NamedTuple):
    """A stage of all runs [R] as compiled programs. running: before its first update. advance: (running, updates) ->
    running, which it gives up. end: running -> what the stage hands on."""

    running: Running
    advance: Callable[[Running, int], Running]
    end: Callable[[Running], Aligning]


def compiled(stage: Stage, keys: Array, aligning: Aligning, sharding: Sharding) -> StagePrograms:
    """The stage of every run, from keys [R] and what the stage before handed on [R, ...]."""
    running = jax.jit(jax.vmap(partial(begin, stage)), out_shardings=sharding)(keys, aligning)
    later = jax.vmap(partial(advance, stage), in_axes=(0, None))
    program = jax.jit(later, donate_argnums=0, out_shardings=sharding).lower(running, 1).compile()
    return StagePrograms(running, program, jax.jit(jax.vmap(partial(end, stage)), out_shardings=sharding))


def gathered(spread: Spread, tree: Any) -> Any:
    """The runs of every leaf, without what pads them, on one device of each host."""
    return jax.device_put(spread.gather(tree))


@dataclass(frozen=True)
class Measured:
    """What a method's policies are worth; every list is [S], None for a seed without finite numbers.

    metrics: reward, kl, regret (see `Standing`), and reference_reward, that of pi_0; with a known optimum also
    shortfall, `beta log Z - (reward - beta kl)` at the method's beta; and what the method's own `diagnostics` say.
    standard_errors: of kl and of regret, 0 where they are exact.
    failures: seed -> which number is not finite.
    """

    metrics: dict[str, list[float | None]]
    standard_errors: dict[str, list[float | None]]
    failures: dict[str, str]


def measure(method: Method, judge: Judge, seeds: Sequence[int], aligning: Aligning) -> Measured:
    """Of the runs that handed this on [S, ...], one from each of the judge's references."""
    ends = method.standings(judge, aligning.weights)
    columns = {
        "reward": [end.reward for end in ends],
        "kl": [end.kl for end in ends],
        "regret": [end.regret for end in ends],
        "reference_reward": [exact.expected(law, judge.rewards) for law in judge.references],
    }
    beta = method.optimal_beta(judge.task)
    if beta is not None:
        best = judge.best_objective(beta)
        columns["shortfall"] = [most - (end.reward - beta * end.kl) for most, end in zip(best, ends, strict=True)]
    columns |= method.diagnostics(judge, aligning)
    failures: dict[int, str] = {}
    for name, values in columns.items():
        for seed, value in zip(seeds, values, strict=True):
            if not math.isfinite(value):
                failures.setdefault(seed, f"{name} is {value}, no finite number")
    finite = lambda values: [
        None if seed in failures else float(value) for seed, value in zip(seeds, values, strict=True)
    ]
    return Measured(
        metrics={name: finite(values) for name, values in columns.items()},
        standard_errors={
            "kl": finite([end.kl_standard_error for end in ends]),
            "regret": finite([end.regret_standard_error for end in ends]),
        },
        failures={str(seed): reason for seed, reason in failures.items()},
    )
