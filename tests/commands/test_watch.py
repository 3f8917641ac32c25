"""Episodes that are watched and played: what is told is what happens."""

import io
import json

import numpy as np
import pytest

from seqrl_jax import cli
from seqrl_jax.agents.fitted import fit
from seqrl_jax.tasks import make


def watched(capsys, *words):
    code = cli.main(["watch", *map(str, words), "--json"])
    out, err = capsys.readouterr()
    return json.loads(out) if code == 0 else err


def test_the_best_policy_loses_nothing_and_its_belief_is_bayes_rule(capsys):
    """By hand: the odds of the side that was heard more often, (.85 / .15)^difference."""
    steps = watched(capsys, "tiger", "--optimal", "--seed", 3)["steps"]
    difference = 0
    for step in steps:
        difference += {"hear_left": 1, "hear_right": -1}.get(step["observation"], 0)
        odds = (0.85 / 0.15) ** difference
        assert step["belief"]["left"] == pytest.approx(odds / (1 + odds), abs=1e-4)
        assert step["cost"] == pytest.approx(0, abs=1e-9) and step["probabilities"][step["action"]] == 1
    assert steps[-1]["action"] in ("open_left", "open_right")


def test_what_an_agent_expects_stands_beside_what_the_best_policy_earns(capsys):
    words = "tiger", "--agent", "q_obs", "--steps", 2000, "--seed", 2
    steps = watched(capsys, *words)["steps"]
    assert steps[0]["optimal_value"] == pytest.approx(3.76985, abs=1e-5)
    errors = [step["value"] - step["optimal_value"] for step in steps]
    furthest = int(np.argmax(np.abs(errors)))
    assert cli.main(["watch", *map(str, words)]) == 0
    said = capsys.readouterr().out
    assert f"expects {steps[0]['value']:.4g} from here on; the best policy earns 3.77" in said
    more = "much" if errors[furthest] > 0 else "little"
    assert f"it expects {abs(errors[furthest]):.4g} too {more} at t={furthest}, where" in said.splitlines()[-1]


def test_what_expects_nothing_says_nothing_of_it(capsys):
    steps = watched(capsys, "tiger", "--agent", "reward_to_go", "--steps", 1000)["steps"]
    assert {step["value"] for step in steps} == {None}
    assert cli.main(["watch", "tiger", "--random"]) == 0
    assert "expects" not in capsys.readouterr().out


def test_the_return_is_what_was_paid(capsys):
    task = make("tiger")
    output = watched(capsys, "tiger", "--random", "--seed", 5)
    paid = [step["reward"] for step in output["steps"]]
    assert output["return"] == pytest.approx(sum(task.discount**t * r for t, r in enumerate(paid)))
    assert sum(step["cost"] for step in output["steps"]) > 0


def test_an_agent_of_a_file_is_watched_in_its_own_task(capsys, tmp_path):
    path = tmp_path / "agent.safetensors"
    fit("reinforce", "tiger", 1000).save(path)
    steps = watched(capsys, "tiger", "--checkpoint", path)["steps"]
    assert sum(steps[0]["probabilities"].values()) == pytest.approx(1)
    assert "was trained in tiger, not in tmaze" in watched(capsys, "tmaze", "--checkpoint", path)
    assert "reinforcee" in watched(capsys, "tiger", "--agent", "reinforcee")


def test_where_beliefs_cannot_be_listed_nothing_is_said_of_costs(capsys):
    output = watched(capsys, "hidden_market", "--random")
    assert all(step["cost"] is None for step in output["steps"])
    assert cli.main(["watch", "hidden_market", "--random"]) == 0
    assert "nothing is said" in capsys.readouterr().out.splitlines()[-1]


def test_the_film_has_a_frame_for_each_step(capsys, tmp_path):
    from PIL import Image

    path = tmp_path / "film.gif"
    steps = watched(capsys, "tiger", "--gif", path)["steps"]
    with Image.open(path) as film:
        frames = []
        for number in range(film.n_frames):
            film.seek(number)
            frames.append(np.asarray(film.convert("RGB")))
    assert len(frames) == len(steps) and any((frame != frames[0]).any() for frame in frames)


def test_a_person_acts_by_name_or_number_and_may_ask_for_the_belief(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("?\nlisten\nlisen\n9\n1\n"))
    assert cli.main(["play", "tiger"]) == 0
    out = capsys.readouterr().out
    assert "belief: left 0.50, right 0.50; best: listen" in out and out.count("unknown action") == 2
    assert "the episode is over" in out and "the best policy earns 3.76985" in out
    assert ", in left" not in out and ", in right" not in out, "nobody tells where one is"


def test_who_leaves_leaves(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("listen\n"))
    assert cli.main(["play", "tiger"]) == 0
    assert capsys.readouterr().out.endswith("left\n")
    assert cli.main(["play", "tiger", "--json"]) == 2
