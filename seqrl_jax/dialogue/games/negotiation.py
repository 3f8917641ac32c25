"""A seller and a buyer who does not say how much he would pay."""

from __future__ import annotations

from typing import Any

from seqrl_jax.dialogue.game import Game, anything, checked, speaker
from seqrl_jax.settings import Horizon, Probability
from seqrl_jax.tasks.build import Outcome, build, ends, goes, uniform

PRICES = tuple(50 + 12.5 * step for step in range(9))
"""In hundredths of the list price."""
BUYERS = {"poor": 3, "fair": 5, "rich": 7}
"""The most that each would pay, as an index of PRICES."""
NO_DEAL = -20.0


def negotiation(turns: Horizon = 6, accepts: Probability = 0.5, leaves: Probability = 0.1) -> Game:
    """You sell: name a price or accept the buyer's bid. A deal pays 10 (price / list price - 1), no deal -20.

    There are three kinds of buyers, who would pay .875, 1.125 or 1.375 of the list price at most, and begin with bids
    of .5 to .625. A buyer takes a price that he could pay with probability `accepts` (and always one that he bid);
    a price beyond that makes him leave with probability `leaves`. Otherwise he bids one step more, up to his most.

    Picture::

        bid 50 -- offer 125 -- bid 62 -- offer 112 -- (deal at 112)

    Seed idea: what a buyer bids tells slowly what he would pay, and asking is not free.
    """
    states = [(turn, kind, bid) for turn in range(turns) for kind in BUYERS for bid in range(len(PRICES))]
    offers = {f"offer_{int(price)}": index for index, price in enumerate(PRICES)}
    utterances = [*offers, "accept"]

    def step(state: Any, said: str) -> Outcome | dict[Outcome, float]:
        turn, kind, bid = state
        most = BUYERS[kind]
        if said == "accept":
            return ends(_pays(bid))
        price = offers[said]
        if price <= bid:
            return ends(_pays(price))
        raised = min(bid + 1, most, price)
        on = ends(NO_DEAL) if turn + 1 == turns else goes((turn + 1, kind, raised))
        law: dict[Outcome, float] = {}
        deal, gone = (accepts, 0.0) if price <= most else (0.0, leaves)
        for outcome, p in ((ends(_pays(price)), deal), (ends(NO_DEAL), gone), (on, 1 - deal - gone)):
            if p > 0:
                law[outcome] = law.get(outcome, 0.0) + p
        return law

    start = uniform([(0, kind, bid) for kind in BUYERS for bid in (0, 1)])
    task = build(
        name="negotiation",
        states=states,
        actions=utterances,
        observations=[f"bid_{int(price)}" for price in PRICES],
        start=start,
        step=step,
        observe=lambda state: f"bid_{int(PRICES[state[2]])}",
        discount=1.0,
        horizon=turns,
    )

    def conceding(state: Any, said: str) -> float:
        """High at first, a step lower at every turn."""
        wanted = max(8 - state[0], state[2])
        return -abs(offers.get(said, -9) - wanted)

    speakers = (
        speaker(0.5, states, utterances, conceding),
        speaker(0.2, states, utterances, lambda state, said: float(said == "accept" and state[0] > 1)),
        anything(0.3, states, utterances),
    )
    return checked(Game(task, speakers))


def _pays(price: int) -> float:
    return 10 * (PRICES[price] / 100 - 1)
