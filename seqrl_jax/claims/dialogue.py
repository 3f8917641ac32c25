"""What is claimed of dialogues of many turns: logs against talking, tokens against utterances, and luck."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seqrl_jax.claims.base import (
    DIALOGUE,
    VALID,
    Claim,
    Evidence,
    Measured,
    above,
    apart,
    below,
    between_ends,
    decided,
    estimate_in,
    exactly,
    gain_of,
    paired,
    within,
)
from seqrl_jax.dialogue.exact import Known
from seqrl_jax.dialogue.luck import luck_share
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.tracks.dialogue import CLAIM, RETURN
from seqrl_jax.tracks.suites import SUITES

LUCK = ("luck_cpu.json", "python benchmarks/luck.py")
OVERVALUED = ("overvalued_cpu.json", "python benchmarks/overvalued.py")
SCORE, REGRET = "normalised score", "regret"
ABOVE_ZERO = "the whole 95% interval of the difference lies above 0"
UTTERANCE, TOKEN = "view=utterance", "view=token"


def _known(noise: float) -> Known:
    return Known(make_game(f"small_talk:turns=3,noise={noise:g}"))


def _gain(id_: str, statement: str, first: str, second: str, games: Sequence[str] | None = None) -> Claim:
    """Whether a method scores more than another, paired by seed."""

    def measure(evidence: Evidence) -> Measured:
        found, on = gain_of(evidence, "dialogue", f"{first}:{UTTERANCE}", f"{second}:{UTTERANCE}", tasks=games)
        return decided(found, above(0.0), SCORE, on)

    return Claim(id_, statement, DIALOGUE, ABOVE_ZERO, measure)


def _views(evidence: Evidence) -> Measured:
    suite = SUITES["dialogue"]
    views = [(spec.replace(TOKEN, UTTERANCE), spec) for spec in suite.methods if TOKEN in spec]
    both = [pair for pair in views if pair[0] in suite.methods]
    score = lambda method, game: evidence.scores("dialogue", method, game, "normalised")
    pairs = [(score(whole, game), score(by_words, game)) for whole, by_words in both for game in suite.tasks]
    on = f"`seqrl run dialogue`: utterances less tokens, {len(both)} methods on {len(suite.tasks)} games, by seed"
    return decided(paired(pairs), above(0.0), SCORE, on)


def _longer(evidence: Evidence) -> Measured:
    games = SUITES["dialogue_longer"].tasks
    long, short = (
        [evidence.scores(suite, method, game, "normalised") for game in games]
        for suite, method in (("dialogue_longer", f"cql:{UTTERANCE},updates=15000"), ("dialogue", f"cql:{UTTERANCE}"))
    )
    on = f"`seqrl run dialogue_longer`: cql with ten times the reading less without, {len(games)} games, by seed"
    return decided(paired(zip(long, short, strict=True)), above(0.0), SCORE, on)


def _pretrained(evidence: Evidence) -> Measured:
    suite = SUITES["dialogue_pretrained"]
    begun, alone = (
        [evidence.scores(suite.name, method, game, "normalised") for method in methods for game in suite.tasks]
        for methods in (suite.methods[::2], suite.methods[1::2])
    )
    on = f"`seqrl run {suite.name}`: with less without, as many updates, {len(suite.tasks)} games, by seed"
    return decided(paired(zip(begun, alone, strict=True)), above(0.0), SCORE, on)


def _promise(evidence: Evidence) -> Measured:
    """In units of what lies between the logs and the best policy, so that games count alike."""
    method, games = f"offline_q:{UTTERANCE}", SUITES["dialogue"].tasks
    pairs = []
    for game in games:
        bounds = evidence.record("dialogue", method, game).bounds
        unit = bounds["best"].lower - bounds["logs"].lower
        promised, earned = (
            {seed: value / unit for seed, value in evidence.by_seed("dialogue", method, game, metric).items()}
            for metric in (CLAIM, RETURN)
        )
        pairs.append((promised, earned))
    on = f"`seqrl run dialogue`: what {method} promises of what is said first less what it earns, {len(games)} games"
    return decided(paired(pairs), above(0.0), "normalised score, promised less earned", on)


def _unsaid(evidence: Evidence) -> Measured:
    row, *_ = evidence.rows(*OVERVALUED, ("agent", "dialogues", "unsaid"), agent="offline_q", dialogues=30)
    on = "`python benchmarks/overvalued.py`: Q of offline_q less Q* of first utterances that 30 dialogues never say"
    return decided(estimate_in(row["unsaid"]), above(0.0), SCORE, on)


def _luck_grows(_: Evidence) -> Measured:
    still, noisy = (luck_share(_known(noise)) for noise in (0.0, 1.0))
    on = "exact: luck's share of the variance of returns at noise 1 less at noise 0, small_talk of 3 turns"
    return decided(exactly(noisy - still), above(0.0), "share of the variance", on)


def _optimum_stays(_: Evidence) -> Measured:
    still, noisy = (known.value(known.best) for known in map(_known, (0.0, 1.0)))
    on = "exact: the optimum at noise 1 less at noise 0, small_talk of 3 turns"
    return decided(between_ends(noisy - still, noisy - still), within(-VALID, VALID), "return", on)


def _luck_costs(agent: str) -> Callable[[Evidence], Measured]:
    """How much more regret a method has with the most luck than with the least."""

    def measure(evidence: Evidence) -> Measured:
        rows = sorted(evidence.rows(*LUCK, ("noise", REGRET), agent=agent), key=lambda row: row["noise"])
        found = apart(estimate_in(rows[-1][REGRET]), estimate_in(rows[0][REGRET]))
        return decided(found, above(0.0), REGRET, f"`{LUCK[1]}`: {agent} with the most luck less with the least")

    return measure


def _luck_spares(agent: str) -> Callable[[Evidence], Measured]:
    def measure(evidence: Evidence) -> Measured:
        row = max(evidence.rows(*LUCK, ("noise", REGRET), agent=agent), key=lambda row: row["noise"])
        return decided(estimate_in(row[REGRET]), below(0.1), REGRET, f"`{LUCK[1]}`: {agent} with the most luck")

    return measure


GROWS, SPARED = "the 95% intervals of the two regrets, added, lie above 0", "the whole 95% interval lies below .1"

CLAIMS = (
    _gain("values_beat_imitation", "From the same logs, values earn more than imitation (ILQL).", "ilql", "bc"),
    _gain("conservative_values_beat_imitation", "So do conservative values (CQL).", "cql", "bc"),
    _gain("filtering_helps_imitation", "Imitating the best dialogues beats imitating all.", "filtered_bc", "bc"),
    _gain("bootstrapping_stitches", "Bootstrapped values stitch what returns of logs do not.", "offline_q", "mc_q"),
    _gain("conservatism_helps", "Offline, conservative values earn more than plain ones.", "cql", "offline_q"),
    _gain("online_beats_offline", "Talking beats reading: policy gradients against ILQL.", "pg_group", "ilql"),
    Claim(
        "offline_values_overpromise",
        "Q-learning that nothing holds to its logs promises more than it earns.",
        DIALOGUE,
        ABOVE_ZERO,
        _promise,
    ),
    Claim(
        "unsaid_is_overvalued",
        "Without a constraint, actions that are not in the data are over-valued.",
        DIALOGUE,
        ABOVE_ZERO,
        _unsaid,
    ),
    Claim(
        "pretraining_helps",
        "Values earn more that begin with the model that was trained on the data than values from scratch.",
        DIALOGUE,
        ABOVE_ZERO,
        _pretrained,
    ),
    Claim("reading_more_helps", "Ten times the reading raises what logs teach.", DIALOGUE, ABOVE_ZERO, _longer),
    Claim(
        "utterances_beat_tokens",
        "Deciding by whole utterances is easier to learn than token by token.",
        DIALOGUE,
        ABOVE_ZERO,
        _views,
    ),
    Claim(
        "luck_grows_with_chance",
        "The more chance is in a user's replies, the more of a return is luck.",
        DIALOGUE,
        "luck's share rises",
        _luck_grows,
    ),
    Claim(
        "luck_leaves_optimum",
        "Luck leaves the optimum as it is.",
        DIALOGUE,
        f"the two optima differ by less than {VALID:g}",
        _optimum_stays,
    ),
    Claim(
        "luck_fools_preferences",
        "Preferences between whole dialogues take luck for merit.",
        DIALOGUE,
        GROWS,
        _luck_costs("multi_turn_dpo"),
    ),
    Claim("luck_fools_imitation", "So does imitating the best dialogues.", DIALOGUE, GROWS, _luck_costs("filtered_bc")),
    Claim("luck_spares_values", "Values average luck out.", DIALOGUE, SPARED, _luck_spares("cql")),
    Claim(
        "luck_spares_pairs",
        "Comparing two continuations of one dialogue is spared by luck, too (REFUEL).",
        DIALOGUE,
        SPARED,
        _luck_spares("refuel"),
    ),
)
