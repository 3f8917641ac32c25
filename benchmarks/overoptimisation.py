"""What optimising a proxy does to the gold reward: reward models of several kinds, from few labels to many, each seed
with a reference of its own.

    python benchmarks/overoptimisation.py --out runs/overoptimisation.json

writes the numbers after every row, and in the end a picture beside them; what the file holds is not computed again. On
`overopt` every completion can be listed, so nothing is trained but the proxies: the policies are the exact optima
`pi_0 exp(proxy / beta) / Z` as beta falls, and the exact best of n. Their gold and proxy rewards are fitted against
d = sqrt(KL) by the forms of Gao, Schulman & Hilton (2023): `d (alpha - beta d)` for the best of n and
`d (alpha - beta log d)` for the optima.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqrl_jax.figures import COLOURS, new_figure, png
from seqrl_jax.files import write_whole
from seqrl_jax.lm import exact
from seqrl_jax.lm.labels import Labeller
from seqrl_jax.lm.preference import compared
from seqrl_jax.lm.reward_model import RewardModel
from seqrl_jax.lm.sft import Supervised
from seqrl_jax.lm.tasks import LMTask, make_task
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.results.provenance import read_measurement, write_measurement

COUNTED = {"learning_rate": 0.03}
PROXIES: dict[str, tuple[RewardModel, int]] = {
    "unigram": (RewardModel(features="unigram", **COUNTED), 32),
    "unigram + bigram": (RewardModel(features="bigram", **COUNTED), 32),
    "model, width 16": (RewardModel(), 16),
    "model, width 32": (RewardModel(), 32),
    "model, width 64": (RewardModel(), 64),
    "mean of 4 models": (RewardModel(members=4), 32),
    "worst of 4 models": (RewardModel(members=4, pessimistic=True), 32),
}
"""Reward models, and the width of the reference that they start from."""
PAIRS = (50, 200, 1000, 5000, 50_000)
NOISES = (0.0, 0.25)
BETAS = np.geomspace(20.0, 0.02, 40)
DRAWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--proxies", nargs="+", default=list(PROXIES), choices=list(PROXIES))
    parser.add_argument("--pairs", nargs="+", type=int, default=list(PAIRS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    task = make_task("overopt")
    rows = recorded_rows(options.out, options.seeds)
    for width in dict.fromkeys(PROXIES[name][1] for name in options.proxies):
        missing: dict[tuple[RewardModel, int, float], list[str]] = {}
        for setting in product(options.proxies, options.pairs, NOISES):
            proxy, of = PROXIES[setting[0]]
            if of == width and setting not in map(setting_of, rows):
                # The mean and the worst of some models are read of the same fit.
                missing.setdefault((replace(proxy, pessimistic=False), *setting[1:]), []).append(setting[0])
        references = References.trained(task, width, options.seeds) if missing else None
        for (_, pairs, noise), names in missing.items():
            curves = traced([PROXIES[name][0] for name in names], references, pairs, noise)
            for name, curve in zip(names, curves, strict=True):
                rows.append({"proxy": name, "pairs": pairs, "noise": noise, **curve})
                print({key: value for key, value in rows[-1].items() if key not in ("optima", "best_of_n")}, flush=True)
            if options.out:
                write_measurement(options.out, {"rows": sorted(rows, key=place), "seeds": options.seeds})
    if options.out:
        write_whole(options.out.with_suffix(".png"), picture(sorted(rows, key=place)))


def recorded_rows(out: Path | None, seeds: int) -> list[dict[str, Any]]:
    """The rows that a file holds, which are not computed again."""
    if out is None or not out.exists():
        return []
    measured = read_measurement(out)
    if measured["seeds"] != seeds:
        raise SystemExit(f"{out} holds {measured['seeds']} seeds, not {seeds}")
    return list(measured["rows"])


def setting_of(row: dict[str, Any]) -> tuple[str, int, float]:
    return row["proxy"], row["pairs"], row["noise"]


def place(row: dict[str, Any]) -> tuple[int, int, float]:
    """Where a row stands among the others."""
    proxy, pairs, noise = setting_of(row)
    return list(PROXIES).index(proxy), pairs, noise


@dataclass(frozen=True)
class References:
    """pi_0 of each seed. weights: [S, ...]. laws: [S], of all completions each."""

    task: LMTask
    model: GPT
    weights: Any
    laws: Sequence[np.ndarray]

    @classmethod
    def trained(cls, task: LMTask, width: int, seeds: int) -> References:
        """Models of this width that imitate the task's texts."""
        model = GPT(task.size, 1 + task.length, width=width)
        train = lambda seed: Supervised().train(jax.random.key(seed), model, task)[0]
        weights = jax.jit(jax.vmap(train))(jnp.arange(seeds))
        law = lambda seed: exact.law_of(model, task, jax.tree.map(lambda leaf: leaf[seed], weights))
        return cls(task, model, weights, [exact.normalised(law(seed)) for seed in range(seeds)])


def traced(proxies: Sequence[RewardModel], references: References, pairs: int, noise: float) -> list[dict[str, Any]]:
    """What becomes of each proxy that is fitted to so many pairs, over seeds of labels and reference."""
    return [
        summary([trace(law, references.task, score) for law, score in zip(references.laws, of_seeds, strict=True)])
        for of_seeds in scores(proxies, references, pairs, noise)
    ]


def scores(proxies: Sequence[RewardModel], references: References, pairs: int, noise: float) -> np.ndarray:
    """[proxies, S, N]: what each says of every completion, for each seed. They differ in how they read one fit. All
    seeds are one program."""
    task, model = references.task, references.model
    texts = jnp.asarray(exact.completions(task.size, task.length, task.end))

    def fit(seed: Any, weights: Any) -> Any:
        data_key, fit_key = jax.random.split(jax.random.key(1000 + seed))
        rankings = compared(data_key, model, task, weights, pairs, 2, Labeller(noise=noise))
        fitted, _ = proxies[0].train(fit_key, model, task, weights, rankings)
        rewards = [proxy.reward(model, task, fitted) for proxy in proxies]
        score = lambda text: jnp.stack([reward(jnp.zeros((1, 1), jnp.int32), text[None])[0] for reward in rewards])
        return jax.lax.map(score, texts, batch_size=exact.CHUNK).T

    fits = jax.jit(jax.vmap(fit, out_axes=1))(jnp.arange(len(references.laws)), references.weights)
    return np.asarray(fits, np.float64)


def trace(law: np.ndarray, task: LMTask, score: np.ndarray) -> dict[str, Any]:
    """KL, gold and proxy reward of the optima and of the best of n, for one set of labels. law, score: [1, N], [N]."""
    # To mean 0 and deviation 1 under pi_0, exactly.
    gold, score = exact.outcome_rewards(task), score[None] - exact.expected(law, score[None])
    score = score / np.sqrt(exact.expected(law, np.square(score)))
    rewards = lambda policy: [
        exact.divergence(policy, law),
        exact.expected(policy, gold),
        exact.expected(policy, score),
    ]
    return {
        "optima": [rewards(exact.optimum(law, score, beta)) for beta in BETAS],
        "best_of_n": [rewards(exact.best_of(law, score, draws)) for draws in DRAWS],
    }


def summary(curves: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds of the curves, the fits to these, and where gold peaks and ends, in the mean and by seed."""
    optima = np.mean([curve["optima"] for curve in curves], 0)
    best = np.mean([curve["best_of_n"] for curve in curves], 0)
    peaks = [max(point[1] for point in curve["optima"]) for curve in curves]
    ends = [curve["optima"][-1][1] for curve in curves]
    # The best of one answer is pi_0 itself; the largest beta has moved gold by up to a twentieth already.
    start = float(best[0, 1])
    return {
        "gold_peak": float(np.mean(peaks)),
        "gold_end": float(np.mean(ends)),
        "gold_peaks": peaks,
        "gold_ends": ends,
        "proxy_end": float(optima[-1, 2]),
        "kl_end": float(optima[-1, 0]),
        "fit_optima": fitted(optima, start, np.log),
        "fit_best_of_n": fitted(best, start, lambda d: d),
        "optima": optima.tolist(),
        "best_of_n": best.tolist(),
    }


def fitted(points: np.ndarray, start: float, form: Any) -> dict[str, float]:
    """alpha and beta of `gold - gold at pi_0 = d (alpha - beta form(d))` by least squares, and the share explained.

    The form has no constant, so what it misses has a mean, which counts; the share is below 0 where the mean of the
    points would miss less.
    """
    points = points[points[:, 0] > 1e-3]
    d, gain = np.sqrt(points[:, 0]), points[:, 1] - start
    (alpha, beta), *_ = np.linalg.lstsq(np.stack([d, -d * form(d)], 1), gain, rcond=None)
    missed = gain - d * (alpha - beta * form(d))
    return {"alpha": float(alpha), "beta": float(beta), "r2": float(1 - np.mean(missed**2) / gain.var())}


def picture(rows: Sequence[dict[str, Any]]) -> bytes:
    """PNG: a column for each proxy, a row for each noise; gold solid, what the proxy says dotted, labels by colour."""
    proxies, noises, pairs = (list(dict.fromkeys(row[name] for row in rows)) for name in ("proxy", "noise", "pairs"))
    figure = new_figure(len(noises), len(proxies), legend_inches=0.4)
    grid = figure.subplots(len(noises), len(proxies), sharex=True, sharey=True, squeeze=False)
    for row in rows:
        axes = grid[noises.index(row["noise"]), proxies.index(row["proxy"])]
        points, colour = np.array(row["optima"]), COLOURS[pairs.index(row["pairs"]) % len(COLOURS)]
        # A KL of nothing may be computed as slightly less.
        d = np.sqrt(np.maximum(points[:, 0], 0))
        axes.plot(d, points[:, 1], color=colour, label=f"{row['pairs']:,} pairs")
        axes.plot(d, points[:, 2], ":", color=colour, linewidth=1)
        axes.set_title(f"{row['proxy']}, noise {row['noise']:g}", fontsize="small")
    for axes in grid[-1]:
        axes.set_xlabel("square root of KL")
    for axes in grid[:, 0]:
        axes.set_ylabel("reward")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(pairs))
    return png(figure, dpi=110)


if __name__ == "__main__":
    main()
