"""A cell of the dialogue track: trained in chunks, judged between certified values, the same when it is resumed."""

import dataclasses

import jax
import pytest

from seqrl_jax.cli import main
from seqrl_jax.dialogue.exact import Known, action_values
from seqrl_jax.dialogue.files import write_log
from seqrl_jax.dialogue.logs import logged
from seqrl_jax.dialogue.registry import GAMES, make_game
from seqrl_jax.naming import SpecError
from seqrl_jax.tracks.base import Budget, plain_loop
from seqrl_jax.tracks.dialogue import DIALOGUE, DialogueProblem

BUDGET = Budget(steps=12, evaluations=3, seeds=(0, 5))
GAME = "visual_dialogue:turns=3"
METHOD = "ilql:width=8,batch=8"


@pytest.fixture(scope="module")
def problem():
    return DIALOGUE.problems([GAME])[0]


@pytest.fixture(scope="module")
def outcome(problem):
    return DIALOGUE.row(METHOD, [problem], BUDGET, plain_loop)[0]


def test_a_cell_lies_below_the_optimum_and_says_what_it_took(problem, outcome):
    best = problem.bounds["best"].upper
    for value, error in zip(outcome.metrics["return"], outcome.standard_errors["return"], strict=True):
        assert value <= best + 5 * error
    assert outcome.steps_made == 12 and outcome.curves["return"].at == [0, 4, 8, 12]
    assert all(1 <= turns <= 3 for turns in outcome.metrics["turns"])
    assert all(problem.bounds["logs"].lower - 5 < value <= best + 1e-9 for value in outcome.metrics["supported"])
    assert outcome.metrics["return"][0] != outcome.metrics["return"][1], "seeds differ"


def test_what_is_claimed_is_in_units_of_the_return():
    """Q of the logs after the best first utterance, within a third of the deviation of returns, which is the unit."""
    known = Known(make_game("negotiation:turns=2"))
    problem = DialogueProblem("negotiation:turns=2", known)
    outcome = DIALOGUE.row("mc_q:view=utterance", [problem], Budget(300, 1, (3000,)), plain_loop)[0]
    graph = known.beliefs.graph
    exact = float(graph.start @ action_values(graph, known.logged.values[1]).max(1))
    unit = float(problem.log(3000).returns(1.0).std())
    assert unit > 4 and abs(exact) > 1
    assert outcome.metrics["claim"][0] == pytest.approx(exact, abs=0.3 * unit)


def test_a_seed_is_the_same_beside_others(problem, outcome):
    alone = DIALOGUE.row(METHOD, [problem], dataclasses.replace(BUDGET, seeds=(5,)), plain_loop)[0]
    assert alone.metrics["supported"][0] == outcome.metrics["supported"][1]
    assert alone.metrics["return"][0] == pytest.approx(outcome.metrics["return"][1], abs=1e-3)


def test_a_cell_that_was_stopped_goes_on(problem, outcome):
    """Its state is kept after the first chunk, and put back by another call."""
    kept = {}

    def stopping(state, advance, chunks, watch):
        kept["state"] = jax.tree.map(lambda leaf: leaf.copy(), advance(state))
        raise KeyboardInterrupt

    def resuming(state, advance, chunks, watch):
        resumed = kept["state"]
        for _ in range(chunks - 1):
            resumed = advance(resumed)
        return resumed

    with pytest.raises(KeyboardInterrupt):
        DIALOGUE.row(METHOD, [problem], BUDGET, stopping)
    again = DIALOGUE.row(METHOD, [problem], BUDGET, resuming)[0]
    assert again.metrics == outcome.metrics and again.curves["return"].values == outcome.curves["return"].values


def test_who_spoke_counts_for_what_was_run(problem):
    game = problem.known.game
    other = dataclasses.replace(game, speakers=game.speakers[::-1])
    assert DialogueProblem(GAME, Known(other)).fingerprint != problem.fingerprint
    assert DialogueProblem(GAME, Known(make_game(GAME))).fingerprint == problem.fingerprint


def test_a_log_of_somebody_else_is_what_every_seed_learns_from(problem, tmp_path):
    game = problem.known.game
    log = logged(game, 50, 3)
    write_log(tmp_path / "log.jsonl", GAME, game, log, 3)
    reading = dataclasses.replace(DIALOGUE, log=tmp_path / "log.jsonl")
    read = reading.problems([GAME])[0]
    other = DialogueProblem(GAME, problem.known, logged(game, 50, 4))
    assert reading.fingerprint(GAME) == read.fingerprint == other.fingerprint == problem.fingerprint, "one task"
    configs = [reading.config(METHOD, each, BUDGET) for each in (problem, read, other)]
    assert "log" not in configs[0] and configs[1]["log"] != configs[2]["log"] and configs[1]["logged"] == 50
    outcome = reading.row(METHOD, [read], BUDGET, plain_loop)[0]
    assert outcome.metrics["dialogues"] == [50, 50] and len(set(outcome.metrics["supported"])) == 1
    assert any("the game's own speakers" in text for text in outcome.warnings), "whose 0 it is"
    kept = reading.row(METHOD, [DialogueProblem(GAME, problem.known, log)], BUDGET, plain_loop)[0]
    assert kept.metrics["return"] == pytest.approx(outcome.metrics["return"], abs=1e-3)
    with pytest.raises(ValueError, match="sweet learns from the user's states"):
        reading.check([GAME], ["bc", "sweet"])
    with pytest.raises(ValueError, match="pg_group learns from no log"):
        reading.check([GAME], ["bc", "pg_group"])
    reading.check([GAME], ["bc", "offline_to_online"])
    with pytest.raises(ValueError, match="a log is of one game, and 2"):
        reading.problems([GAME, "wordle"])


def test_only_dialogues_are_learned_from_logs(tmp_path, capsys):
    assert main(["run", "--tasks", "tiger", "--agents", "ppo", "--log", str(tmp_path / "log.jsonl")]) == 2
    assert "the track pomdp learns from no logs" in capsys.readouterr().err
    (tmp_path / "log.jsonl").write_text("[]\n")
    arguments = ["run", "--tasks", GAME, "--agents", METHOD, "--out", str(tmp_path / "out")]
    assert main([*arguments, "--log", str(tmp_path / "log.jsonl")]) == 2
    assert "log.jsonl, line 1" in capsys.readouterr().err
    write_log(tmp_path / "log.jsonl", GAME, make_game(GAME), logged(make_game(GAME), 5, 0), 0)
    for agent, why in (("pg_group", "learns from no log"), ("sweet", "learns from the user's states")):
        arguments = ["run", "--tasks", GAME, "--agents", agent, "--out", str(tmp_path / "out")]
        assert main([*arguments, "--log", str(tmp_path / "log.jsonl")]) == 2
        assert why in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*"))


def test_every_game_says_what_it_is():
    assert list(DIALOGUE.tasks) == list(GAMES)
    for entry in DIALOGUE.tasks.values():
        assert entry.about and "--" in entry.detail


def test_only_what_compares_with_those_that_still_talk_is_marked_wrong():
    """See `exact.group_baselines`, where the other baselines have the true gradient or a multiple of it."""
    assert [name for name, entry in DIALOGUE.methods.items() if entry.marked_wrong] == ["pg_talking"]


def test_unknown_names_are_refused():
    with pytest.raises(SpecError, match="did you mean wordle"):
        DIALOGUE.check(["wordel"], ["bc"])
    with pytest.raises(SpecError, match="did you mean ilql"):
        DIALOGUE.check(["wordle"], ["ilqll"])
    with pytest.raises(SpecError, match="view"):
        DIALOGUE.check(["wordle"], ["bc:view=letter"])
