"""Tasks that are nothing but memory."""

from __future__ import annotations

from itertools import product

from seqrl_jax.settings import Delay, Horizon, Several
from seqrl_jax.tasks.build import build, goes, uniform
from seqrl_jax.tasks.tabular import TabularPOMDP, refuse_too_large


def repeat_previous(symbols: Several = 2, delay: Delay = 2, horizon: Horizon = 16) -> TabularPOMDP:
    """A symbol appears at every step, uniform and independent; answer the one of `delay` steps ago.

    A right answer pays 1, a wrong one -1. In the first `delay` steps the asked symbol was never shown (it is drawn
    all the same), so those answers are guesses.

    Picture::

        shown     b a a b a b
        asked     ? ? b a a b       (delay = 2)

    Seed idea: a short window is enough, if it is long enough. After RepeatPrevious, Morad et al. (2023).
    Optimum: (horizon - delay) + delay (2 / symbols - 1); memoryless horizon (2 / symbols - 1) unless delay is 0.
    Endless (`endless=true,discount=0.9`): (discount^delay + (1 - discount^delay) (2 / symbols - 1)) / (1 - discount);
    memoryless (2 / symbols - 1) / (1 - discount). What is remembered must go on being dropped for what is new.
    """
    refuse_too_large("repeat_previous", symbols ** (delay + 1), symbols, symbols)
    alphabet = [f"symbol_{i}" for i in range(symbols)]
    windows = list(product(range(symbols), repeat=delay + 1))

    def step(window, action):
        reward = 1.0 if action == f"say_{window[0]}" else -1.0
        return {goes((*window[1:], fresh), reward): 1 / symbols for fresh in range(symbols)}

    return build(
        name="repeat_previous",
        states=windows,
        actions=[f"say_{i}" for i in range(symbols)],
        observations=alphabet,
        start=uniform(windows),
        step=step,
        observe=lambda window: alphabet[window[-1]],
        discount=1.0,
        horizon=horizon,
    )
