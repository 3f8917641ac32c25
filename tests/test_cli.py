import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from seqrl_jax import cli
from seqrl_jax.commands.arguments import parser
from seqrl_jax.lm.registry import METHODS
from seqrl_jax.lm.tasks import TASKS as LM_TASKS
from seqrl_jax.tasks import TASKS, make
from seqrl_jax.tasks.facts import facts
from seqrl_jax.tasks.pomdp_file import write_pomdp
from seqrl_jax.tasks.tabular import arrays

NAMES = {"random", "memoryless_deterministic", "memoryless_stochastic", "history", "state"}


@pytest.fixture
def seqrl(capsys):
    """Run a command: (exit code, stdout, stderr)."""

    def run(*arguments):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            code = leaving.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


def modules_after(statement):
    """Which of the heavy packages a fresh interpreter has loaded after a statement."""
    heavy = ("jax", "gymnax", "gymnasium", "distrax", "matplotlib", "scipy", "rich", "jinja2")
    code = f"{statement}\nimport sys; print(*(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy():
    help_ = "from seqrl_jax.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert modules_after(help_) == set()


def test_every_option_says_what_it_is_and_what_it_is_unless_given():
    (tree,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    for name, command in tree.choices.items():
        for option in (action for action in command._actions if action.option_strings):
            assert option.help, (name, option.dest)
            if option.default not in (None, False, (), argparse.SUPPRESS):
                assert str(option.default) in option.help, (name, option.dest, option.help)


def test_importing_the_package_loads_no_optional_or_plotting_library():
    statement = "import seqrl_jax, seqrl_jax.tasks, seqrl_jax.agents, seqrl_jax.tracks.pomdp"
    assert not modules_after(statement) & {"gymnax", "gymnasium", "matplotlib", "jinja2"}


def test_list_names_tasks_agents_and_suites(seqrl):
    code, out, _ = seqrl("list", "--json")
    output = json.loads(out)
    assert code == 0
    assert [task["name"] for task in output["tasks"] if task["track"] == "pomdp"] == list(TASKS)
    assert [task["name"] for task in output["tasks"] if task["track"] == "lm"] == list(LM_TASKS)
    assert {agent["name"] for agent in output["agents"] if agent["track"] == "lm"} == set(METHODS)
    wrong = {agent["name"]: agent["marked_wrong"] for agent in output["agents"]}
    assert wrong["a2c_obs"] and not wrong["reinforce"] and not wrong["optimal"]
    assert [suite["name"] for suite in output["suites"]] == [
        "quick",
        "headline",
        "pomdp",
        "gymnax",
        "flicker",
        "memory",
        "exploration",
        "lm",
        "offline",
        "dialogue",
        "dialogue_longer",
        "dialogue_pretrained",
    ]


def test_list_describes_a_task(seqrl):
    assert "[cue]" in seqrl("list", "tmaze")[1]
    output = json.loads(seqrl("list", "tmaze", "--json")[1])
    assert output["track"] == "pomdp" and output["about"].startswith("remember one bit") and "[cue]" in output["detail"]
    assert "dpo (lm): " in seqrl("list", "dpo")[1]


def test_list_tells_what_a_file_holds(seqrl, tmp_path):
    path = tmp_path / "mine.POMDP"
    write_pomdp(make("tiger"), path)
    out = seqrl("list", f"{path}:horizon=4")[1]
    assert "3: listen, open_left, open_right" in out and "4 steps" in out
    assert f"{path}:horizon=4,observed=true" in "".join(out.split())
    said = json.loads(seqrl("list", str(path), "--json")[1])
    assert said["facts"] == facts(replace(make("tiger"), name=str(path)))


def test_solve_prints_the_five_certified_values(seqrl):
    code, out, _ = seqrl("solve", "peek_maze", "--horizon", 9, "--discount", 1, "--json", "--episodes", 500)
    output = json.loads(out)
    assert code == 0 and output["horizon"] == 9 and output["discount"] == 1
    assert set(output["values"]) == NAMES
    history = output["values"]["history"]
    assert history["lower"] == pytest.approx(0.8) and history["upper"] == pytest.approx(0.8) and history["method"]
    assert output["played"]["mean"] == pytest.approx(0.8, abs=1e-4), "the optimum of the peek maze has no chance in it"


def test_options_of_a_task_come_before_its_wrappers(seqrl):
    """The discount says how long an endless task is solved for, and the time is shown up to the horizon."""
    endless = json.loads(seqrl("solve", "tmaze:length=1,endless=true", "--discount", 0.2, "--json")[1])
    assert (endless["horizon"], endless["discount"]) == (9, 0.2)
    assert "no horizon" in seqrl("solve", "tmaze:endless=true", "--horizon", 9)[2]
    # A map of the time alone opens any two doors one after the other, and of the observation alone the same one again.
    specs = ("locked_doors:doors=2,time=true", "locked_doors:doors=2,time=true,horizon=2", "locked_doors:doors=2")
    shown, shown_too, hidden = (json.loads(seqrl("solve", spec, "--horizon", 4, "--json")[1]) for spec in specs)
    assert shown["values"] == shown_too["values"]
    assert shown["values"]["history"]["lower"] == pytest.approx(hidden["values"]["history"]["lower"])
    maps = [answer["values"]["memoryless_deterministic"]["lower"] for answer in (shown, hidden)]
    assert maps[0] > maps[1] + 0.1


def test_solve_says_what_it_found_to_people(seqrl):
    code, out, _ = seqrl("solve", "aliased_line")
    assert code == 0 and "memoryless_deterministic  0.5 " in out and "history" in out


def test_export_writes_the_arrays_by_name(seqrl, tmp_path):
    path = tmp_path / "tiger.npz"
    assert seqrl("export", "tiger", "--out", path)[0] == 0
    with np.load(path, allow_pickle=False) as data:
        for name, value in arrays(make("tiger")).items():
            np.testing.assert_array_equal(data[name], value)
        assert list(data["actions"]) == ["listen", "open_left", "open_right"]
    assert list(tmp_path.iterdir()) == [path], "nothing else is left behind"


def test_an_exported_pomdp_file_is_a_task(seqrl, tmp_path):
    path = tmp_path / "tmaze.POMDP"
    assert seqrl("export", "tmaze:length=2", "--out", path)[0] == 0
    by_file, by_name = (json.loads(seqrl("solve", spec, "--json")[1]) for spec in (path, "tmaze:length=2"))
    assert by_file["values"] == by_name["values"] and by_file["horizon"] == by_name["horizon"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A small run: two tasks, four agents."""
    directory = tmp_path_factory.mktemp("run")
    command = ["run", "--tasks", "aliased_line", "tiger", "--agents", "optimal", "random", "reinforce", "a2c_obs"]
    assert cli.main([*command, "--seeds", "2", "--steps", "3000", "--out", str(directory), "--json"]) == 0
    return directory


def test_a_run_leaves_one_file_per_cell_and_a_site(results):
    assert len(list(results.glob("*.json"))) == 8
    pages = {folder: len(list((results / "site" / folder).iterdir())) for folder in ("tables", "tasks", "agents")}
    assert (results / "site" / "index.html").is_file() and pages == {"tables": 1, "tasks": 2, "agents": 4}


def test_cells_that_were_chosen_are_of_no_suite(results, seqrl):
    """So that nothing of one is missing."""
    assert {json.loads(path.read_bytes())["suite"] for path in results.glob("*.json")} == {"own"}
    found = json.loads(seqrl("check", results, "--json")[1])
    assert found["errors"] == 0 and not [finding for finding in found["findings"] if finding["check"] == "cells"]


def test_a_report_of_several_directories_is_one_site(results, seqrl, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/seqrl", "report", str(results), "--out", str(tmp_path / "both")])
    copied = tmp_path / "again" / results.name
    shutil.copytree(results, copied, ignore=shutil.ignore_patterns("site"))
    (copied / "torn.json").write_text("{")
    code, _, err = seqrl("report", results, copied)
    assert code == 2 and "say where by --out" in err
    code, out, err = seqrl("report", results, copied, "--out", tmp_path / "both", "--json")
    assert code == 0 and json.loads(out)["report"] == str(tmp_path / "both" / "index.html")
    assert [line.split(":")[0] for line in json.loads(out)["damaged"]] == [f"again/{results.name}"]
    assert len(list((tmp_path / "both" / "tables").iterdir())) == 2 and not (copied / "site").exists()
    assert f"<code>seqrl report {results.name} --out both</code>" in (tmp_path / "both" / "index.html").read_text()
    code, _, err = seqrl("report", results, "--out", tmp_path)
    assert code == 2 and "holds other files than a site" in err
    (tmp_path / "link").symlink_to(results)
    assert seqrl("report", results, tmp_path / "link", "--out", tmp_path / "once")[0] == 0
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "audit.json").write_text("{}")
    code, _, err = seqrl("report", tmp_path / "audit")
    assert code == 2 and "name their directory, too" in err and not (tmp_path / "audit" / "site").exists()
    assert "· 8 cells ·" in (tmp_path / "once" / "index.html").read_text(), "one directory by two names"


def test_table_tells_every_cell_and_the_certified_values(results, seqrl):
    code, out, _ = seqrl("table", results, "--json")
    output = json.loads(out)
    assert code == 0 and output["errors"] == [] and output["damaged"] == []
    assert len(output["rows"]) == 2 * (4 + 5)
    rows = {(row["task"], row["agent"]): row for row in output["rows"] if row["kind"] == "agent"}
    assert rows["aliased_line", "random"]["normalised"]["mean"] == pytest.approx(0)
    assert rows["tiger", "reinforce"]["seeds"] == 2 and rows["tiger", "reinforce"]["failed"] == 0
    assert rows["tiger", "optimal"]["normalised"]["mean"] == pytest.approx(1, abs=0.1)


def test_table_tells_of_profiles_and_of_improvement(results, seqrl):
    asked = ("--profile", "--improvement", "optimal", "random")
    output = json.loads(seqrl("table", results, *asked, "--json")[1])
    (improvement,) = output["improvement"]
    assert improvement["agents"] == ["optimal", "random"] and improvement["tasks"] == 2 and improvement["value"] == 1.0
    profiles = {profile["agent"]: profile["profile"] for profile in output["profiles"]}
    assert profiles["random"][1]["above"] == 0.1 and profiles["random"][1]["value"] == 0.0
    assert profiles["optimal"][5]["value"] == 1.0
    code, out, _ = seqrl("table", results, *asked)
    assert code == 0 and "P(optimal > random)" in out and "share of runs" in out and "Normalised" not in out


def test_compare_pairs_agents_and_runs(results, seqrl, tmp_path):
    output = json.loads(seqrl("compare", results, "--agents", "random", "optimal", "--json")[1])
    differences = {row["task"]: row["scaled"] for row in output["rows"]}
    assert set(differences) == {"aliased_line", "tiger"}
    assert all(difference["value"] == pytest.approx(1, abs=0.1) for difference in differences.values())
    assert output["overall"][0]["tasks"] == 2 and output["overall"][0]["improvement"]["value"] == 1.0
    code, out, _ = seqrl("compare", results, results)
    assert code == 0 and "second minus first" in out and "0.00 [0.00, 0.00]" in out and "reinforce" in out
    for path in results.glob("optimal--*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    output = json.loads(seqrl("compare", results, tmp_path, "--json")[1])
    assert {tuple(row["agents"]) for row in output["rows"]} == {("optimal", "optimal")}
    code, _, err = seqrl("compare", results, "--agents", "random", "optimall")
    assert code == 2 and "did you mean optimal" in err


def test_a_second_run_keeps_every_finished_cell(results, seqrl):
    before = {path: path.stat().st_mtime_ns for path in results.glob("*.json")}
    broken = next(results.glob("reinforce--tiger*.json"))
    broken.write_text("{")
    command = ["run", "--tasks", "aliased_line", "tiger", "--agents", "optimal", "random", "reinforce", "a2c_obs"]
    assert seqrl(*command, "--seeds", 2, "--steps", 3000, "--out", results)[0] == 0
    after = {path: path.stat().st_mtime_ns for path in results.glob("*.json")}
    assert {path for path in before if before[path] != after[path]} == {broken}
    json.loads(broken.read_text())


def test_a_users_own_file_runs_like_any_task(seqrl, tmp_path):
    seqrl("export", "tiger:horizon=5", "--out", tmp_path / "mine.POMDP")
    spec = str(tmp_path / "mine.POMDP")
    code, out, _ = seqrl(
        "run", "--tasks", spec, "--agents", "random", "--seeds", 1, "--out", tmp_path / "out", "--json"
    )
    assert code == 0 and {row["task"] for row in json.loads(out)["rows"]} == {spec}


def test_throughput_measures_every_task(seqrl):
    code, out, _ = seqrl("throughput", "tiger", "tmaze", "--batch", 8, "--steps", 4, "--repeats", 2, "--json")
    rows = json.loads(out)["rows"]
    assert code == 0 and [row["what"] for row in rows] == ["tiger", "tmaze"]
    assert all({"what", "batch", "steps_per_second", "compile_seconds", "device"} <= set(row) for row in rows)
    assert all(row["batch"] == 8 and row["steps_per_second"] > 0 and row["memory"] > 0 for row in rows)
    assert all(row["share"] > 0 and row["work"][row["bound"]] > 0 and row["ceilings"][row["bound"]] > 0 for row in rows)


def test_throughput_of_agents_and_dialogues_by_batch(seqrl, tmp_path):
    small = ("--steps", 4, "--repeats", 1, "--json")
    code, out, _ = seqrl("throughput", "train", "tiger", "--agents", "reward_to_go", "--batch", 1, 2, *small)
    rows = json.loads(out)["rows"]
    assert code == 0 and [(row["what"], row["batch"]) for row in rows] == [
        ("reward_to_go on tiger", 1),
        ("reward_to_go on tiger", 2),
    ]
    picture = tmp_path / "speed.png"
    code, out, _ = seqrl("throughput", "dialogue", "small_talk", "--batch", 4, "--picture", picture, *small)
    assert code == 0 and picture.read_bytes().startswith(b"\x89PNG")
    assert [row["what"] for row in json.loads(out)["rows"]] == ["small_talk by utterance", "small_talk by token"]
    code, out, err = seqrl("throughput", "env", "tiger", "--batch", 2, 3, "--devices", 2, "--steps", 4)
    assert (code == 2 and not out and "2 devices are asked for" in err) or "does not divide over 2 devices" in err
    for arguments, said in (
        (["lm", "tiger"], "lm takes no names"),
        (["trian", "tiger"], "unknown kind 'trian': did you mean train?"),
        (["tiger", "lm"], "lm is a kind, which stands first and alone"),
        (["tiger", "--agents", "ppo"], "--agents are trained: seqrl throughput train tiger --agents"),
        (["tiger", "--picture", tmp_path / "no" / "speed.png"], "there is no such directory"),
        (["tiger", "--picture", tmp_path], "is a directory, expected a file"),
        (["train", "tiger", "--remat"], "--remat is of lm: train does not read it"),
        (["tiger", "--width", 8], "--width is of lm: env does not read it"),
        (["lm", "--steps", 8], "--steps is of env, train and dialogue: lm does not read it"),
    ):
        code, out, err = seqrl("throughput", *arguments)
        assert code == 2 and not out and said in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["solve", "tmzae"], "did you mean tmaze"),
        (["solve", "tmaze", "--horizon", "0"], "--horizon: the value is 0, expected a whole number >= 1"),
        (["solve", "tmaze", "--horizon", "x"], "expected a whole number"),
        (["solve", "tmaze", "--discount", "1e999"], "--discount: the value is 1e999, expected a number > 0 and <= 1"),
        (["solve", "tmaze:length=-1"], "'tmaze:length=-1': length is -1, expected a whole number >= 1 and <= 1000"),
        (["solve", "locked_doors:doors=100000"], "at least 100,001 states, more than its tables can hold"),
        (["solve", ""], "a name is missing"),
        (["solve", "\x1b[2J"], "unknown task '\\x1b[2J'"),
        (["solve", "missing.POMDP"], "missing.POMDP"),
        (["list", "tiger.pomdpx"], "files of tasks end in .POMDP and are in Cassandra's format"),
        (["solve", "tiger.pomdpx"], "files of tasks end in .POMDP and are in Cassandra's format"),
        (["run", "--tasks", "tiger.pomdpx"], "files of tasks end in .POMDP and are in Cassandra's format"),
        (["solve", "missing.pomdp"], "missing.pomdp: cannot be read: No such file"),
        (["solve", "no\x00file.pomdp"], "no\\x00file.pomdp: cannot be the path of a file"),
        (["solve", "tiger", "\x1b[2J"], "unrecognized arguments: \\x1b[2J"),
        (["run", "qick"], "did you mean quick"),
        (["run", "--agents", "pppo"], "did you mean ppo"),
        (["run", "--agents", "ppo:clipp=1"], "did you mean clip"),
        (["run", "--tasks", "memory_chain", "--agents", "optimal"], "'optimal' is of pomdp, these tasks are of env"),
        (["run", "lm", "--agents", "ppo:clip=0.1"], "'ppo:clip=0.1' is of pomdp and environments, these"),
        (["run", "--tasks", "tiger", "tiger"], "stands twice"),
        (["run", "--seeds", "0"], "--seeds: the value is 0, expected a whole number >= 1"),
        (["run", "--steps", "-5"], "--steps: the value is -5, expected a whole number >= 1"),
        (["table", "nowhere"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["claims", "nowhere"], "no results: nowhere does not exist"),
        (["align", "nowhere", "--out", "out"], "no data: nowhere does not exist"),
        (["align", "sample", "nowhere", "hello"], "no model: nowhere does not exist"),
        (["align", "score", "nowhere", "data.jsonl"], "no model: nowhere does not exist"),
        (["watch", "tiger", "--checkpoint", "nowhere"], "nowhere: not a checkpoint (there is no such file)"),
        (["watch", "tiger", "--gif", "no/film.gif"], "no/film.gif: there is no such directory"),
        (["verify", "nowhere", "--out", "no/it.json"], "no/it.json: there is no such directory"),
        (["export", "tiger", "--out", "no/tiger.npz"], "no/tiger.npz: there is no such directory"),
        (
            ["data", "small_talk", "--episodes", "1", "--out", "no/log.jsonl"],
            "seqrl: no/log.jsonl: No such file or dir",
        ),
        (["audit", "--tasks", "tmzae"], "seqrl: unknown task 'tmzae'"),
        (["compare", "nowhere"], "two directories, or --agents"),
        (["compare", "nowhere", "nowhere"], "nowhere"),
        (["compare", "a", "b", "c"], "two directories are compared, not 3"),
        (["list", "tmzae"], "did you mean tmaze"),
        (["list", "tmaze:flicker=1.5"], "flicker is 1.5, expected a number >= 0 and <= 1"),
        (["list", "dpo:beta=-1"], "beta is -1, expected a number"),
        (["list", "quick:seeds=1"], "did you mean quick"),
        (["list", "optimal:x=1"], "optimal has no settings"),
        (["list", "tmaze:lenght"], "not of the form key=value"),
        (["export", "tiger", "--out", "tiger.txt"], ".npz or .POMDP"),
        (["export", "tiger", "--out", ""], "--out: the value is '', expected a path"),
        (
            ["align", "data.jsonl", "--out", "out", "--seed", str(2**63)],
            f"expected a whole number >= 0 and <= {2**63 - 1}",
        ),
        (["align", "data.jsonl", "--out", "out", "--held-out", "1"], "expected a number > 0 and < 1"),
        (["align", "data.jsonl", "--out", "out", "--method", "dpo", "--beta", "0"], "method is dpo and beta is 0"),
        (["align", "data.jsonl", "--out", "out", "--method", "rm", "--packing"], "method is rm and packing is true"),
        (["nonsense"], "invalid choice"),
        (
            ["align", "x.jsonl", "--out", "o", "--mesh", "4"],
            "--mesh: the value is '4', expected DATAxMODEL such as 4x2",
        ),
        (["align", "x.jsonl", "--out", "o", "--mesh", "0x2"], "--mesh: the value is 0, expected a whole number >= 1"),
        (
            ["align", "x.jsonl", "--out", "o", "--mesh", "3x1"],
            "a batch of 16 examples does not divide over the 3 parts",
        ),
        (["throughput", "--batch", "0"], "--batch: the value is 0, expected a whole number >= 1"),
        (["throughput", "--devices", "1000000"], "--devices: the value is 1000000, expected a whole number >= 1"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(seqrl, arguments, said):
    code, out, err = seqrl(*arguments)
    assert code == 2 and out == ""
    assert said in err and err.count("\n") == 1, err


def test_without_a_cache_nothing_is_kept_and_a_bad_one_is_refused_at_once(seqrl, tmp_path, monkeypatch):
    cache, file = tmp_path / "cache", tmp_path / "file"
    file.touch()
    monkeypatch.setenv("SEQRL_NO_CACHE", "")
    monkeypatch.setenv("SEQRL_CACHE", str(file))
    out = tmp_path / "out"
    for command in (["solve", "tiger"], ["run", "--tasks", "tiger", "--agents", "reward_to_go", "--out", out]):
        code, printed, err = seqrl(*command)
        assert (code, printed, err.count("\n")) == (2, "", 1) and f"nothing can be kept in {file} (" in err, err
    assert not list(out.glob("**/*"))
    assert seqrl("solve", "tiger", "--no-cache", "--json")[0] == 0
    monkeypatch.setenv("SEQRL_CACHE", str(cache))
    assert seqrl("solve", "tiger", "--json")[0] == 0 and not cache.exists()
    monkeypatch.setenv("SEQRL_NO_CACHE", "")
    assert seqrl("solve", "tiger", "--json")[0] == 0 and len(list(cache.glob("solution-*.npz"))) == 1


def test_a_directory_is_no_task_file(seqrl, tmp_path):
    (tmp_path / "folder.POMDP").mkdir()
    code, out, err = seqrl("solve", tmp_path / "folder.POMDP")
    assert code == 2 and out == "" and "folder.POMDP: cannot be read: Is a directory" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("Unable to allocate 7 GiB"), "too large for this machine's memory: Unable to allocate 7 GiB"),
        (MemoryError(), "too large for this machine's memory"),
        (RecursionError("maximum recursion depth exceeded"), "the input is nested too deeply"),
        (OverflowError("Python integer 3000000000 out of bounds for int32"), "out of bounds for int32"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating\n 9 bytes"), "too large for the device's memory"),
    ],
)
def test_what_is_too_large_is_told_in_one_line(seqrl, monkeypatch, error, said):
    def fails(options):
        raise error

    monkeypatch.setattr("seqrl_jax.commands.solve.run", fails)
    code, out, err = seqrl("solve", "tiger")
    assert code == 2 and out == "" and said in err and err.count("\n") == 1


def test_a_fault_of_the_program_is_not_taken_for_bad_input(seqrl, monkeypatch):
    def fails(options):
        raise RuntimeError("a fault")

    monkeypatch.setattr("seqrl_jax.commands.solve.run", fails)
    with pytest.raises(RuntimeError, match="a fault"):
        seqrl("solve", "tiger")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1:strict"])
def test_output_that_is_not_utf_8_ends_no_command(encoding):
    code = "from seqrl_jax import cli; print('\u2020 \u03b3'.isascii(), cli.main(['list']), '\u2020 \u03b3')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    assert done.returncode == 0, done.stderr
    assert b"False 0 \\u2020 \\u03b3" in done.stdout and b"tmaze" in done.stdout


def test_a_command_runs_where_the_folder_is_no_more(seqrl, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, out, err = seqrl("list", "--json")
    assert code == 0 and err == "" and json.loads(out)["suites"]


def test_a_task_file_may_end_in_any_case(seqrl, tmp_path):
    path = tmp_path / "tiger.pomdp"
    assert seqrl("export", "tiger:horizon=3", "--out", path)[0] == 0
    for spelled in ("tiger.pomdp", "tiger.PoMdP"):
        (tmp_path / spelled).write_bytes(path.read_bytes())
        code, out, _ = seqrl("solve", tmp_path / spelled, "--json")
        assert code == 0 and json.loads(out)["horizon"] == 3
    assert seqrl("solve", f"{path}:horizon=2")[0] == 0
    code, _, err = seqrl("solve", f"{path}:horizon=0")
    assert code == 2 and "horizon is 0, expected a whole number >= 1" in err


def test_a_malformed_file_is_answered_with_its_line(seqrl, tmp_path):
    path = tmp_path / "bad.POMDP"
    path.write_text(
        "discount: 0.9\nvalues: reward\nstates: 2\nactions: 1\nobservations: 1\nT: 0\n1 0\n0.5 0.4\nO: 0\n1\n1\n"
    )
    code, _, err = seqrl("solve", path)
    assert code == 2 and err.count("\n") == 1 and "bad.POMDP:8" in err and "T: 0 : 1" in err, err


def test_solve_climbs_to_policies_with_memory_states(seqrl):
    code, out, _ = seqrl("solve", "aliased_line", "--memory-states", 2, "--json")
    output = json.loads(out)
    rungs = [rung["lower"] for rung in output["memory_states"]]
    assert code == 0 and [rung["memories"] for rung in output["memory_states"]] == [1, 2]
    low, high = (output["values"][name]["lower"] for name in ("memoryless_stochastic", "history"))
    np.testing.assert_allclose(rungs, [low, high], atol=1e-6)
    assert "2 memory states" in seqrl("solve", "aliased_line", "--memory-states", 2)[1]
    assert seqrl("solve", "aliased_line", "--memory-states", 0)[0] == 2


def test_the_language_model_suite_runs_and_is_told(seqrl, tmp_path):
    directory = tmp_path / "lm"
    arguments = ("--tasks", "keyword:model=rnn", "--agents", "sft", "best_of_16", "--seeds", 2, "--steps", 3)
    code, out, _ = seqrl("run", "lm", *arguments, "--out", directory, "--json")
    output = json.loads(out)
    assert code == 0 and not output["errors"]
    rows = [row for row in output["rows"] if row["kind"] == "agent"]
    assert [(row["task"], row["agent"], row["seeds"]) for row in rows] == [
        ("keyword:model=rnn", "sft", 2),
        ("keyword:model=rnn", "best_of_16", 2),
    ]
    assert (directory / "site" / "index.html").is_file()
    assert json.loads(seqrl("table", directory, "--json")[1])["rows"] == output["rows"]
    code, _, err = seqrl("run", "lm", "--agents", "dpoo")
    assert code == 2 and "did you mean dpo" in err


def test_throughput_of_a_language_model_says_its_share_of_the_peak(seqrl):
    small = ("--width", 16, "--layers", 1, "--heads", 2, "--context", 8, "--batch", 2, "--repeats", 2)
    # jax's own attention promotes dtypes.
    with jax.numpy_dtype_promotion("standard"):
        code, out, _ = seqrl("throughput", "lm", *small, "--remat", "--json")
        rows = json.loads(out)["rows"]
        assert code == 0 and [row["what"] for row in rows] == ["training", "reading", "writing"]
        for row in rows:
            share = row["tokens_per_second"] * row["flops_per_token"] / row["peak"]
            assert row["batch"] == 2 and row["share_of_peak"] == pytest.approx(share)
        assert seqrl("throughput", "lm", *small)[1].count("tokens/s") == 3
    code, _, err = seqrl("throughput", "lm", *small, "--attention", "cudnn")
    if jax.default_backend() != "gpu":
        assert code == 2 and "--attention cudnn needs an NVIDIA device" in err
    code, _, err = seqrl("throughput", "lm", "--width", 10, "--heads", 4)
    assert code == 2 and "width is 10 and heads is 4: heads must divide width" in err


def test_align_trains_on_lines_and_names_the_bad_one(seqrl, tmp_path):
    data = tmp_path / "data.jsonl"
    good = [json.dumps({"prompt": f"say {n} ", "chosen": "a" * n, "rejected": "b" * n}) for n in range(1, 12)]
    data.write_text("\n".join([*good, "{oops", *good]) + "\n")
    steps = ("--context", 32, "--steps", 3, "--batch", 4)
    sizes = ("--width", 8, "--layers", 1, "--heads", 1, *steps)
    code, _, err = seqrl("align", data, "--out", tmp_path / "sft", *sizes)
    assert code == 2 and "data.jsonl, line 12: not JSON" in err and len(err.splitlines()) == 1
    assert not (tmp_path / "sft").exists()

    code, out, err = seqrl("align", data, "--out", tmp_path / "sft", *sizes, "--skip-bad", "--json", "--log-every", 2)
    output = json.loads(out)
    assert code == 0 and (output["examples"], output["skipped"], output["steps"]) == (22, 1, 3)
    assert "1 bad lines are left out" in err and "11 of 22 examples stand there before" in err
    lines = [line for line in err.splitlines() if line.startswith("sft step")]
    assert [line.split("  ")[0] for line in lines] == ["sft step 2 of 3", "sft step 3 of 3"] and "tokens/s" in lines[1]
    weights = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in (tmp_path / "sft").iterdir()} == weights | {"report.json", "training.safetensors"}
    code, out, _ = seqrl("report", tmp_path / "sft")
    page = (tmp_path / "sft" / "site" / "index.html").read_text()
    assert code == 0 and "index.html" in out and "22 examples of 11 prompts" in page and page.count("<img") == 1
    code, out, _ = seqrl("align", "sample", tmp_path / "sft", "say ", "--length", 5, "--count", 2, "--json")
    assert code == 0 and len(json.loads(out)["said"]) == 2

    packed = ("--packing", "--out", tmp_path / "packed", *sizes)
    code, out, err = seqrl("align", data, *packed, "--skip-bad")
    assert code == 0 and "texts are packed into" in err and "\npacked rows: " in out
    code, _, err = seqrl("align", data, *packed[1:], "--skip-bad")
    assert code == 2 and "belongs to another run: packing is True there and False here" in err

    preference = ("--method", "dpo", "--init", tmp_path / "sft", "--out", tmp_path / "dpo", "--skip-bad")
    out = seqrl("align", data, *preference, *steps)[1]
    assert "prefers what was chosen" in out and "regression on length" in out and "regression on counts of bytes" in out
    assert "is better than counting bytes is not decided by " in out and "0.6931: no preference" in out
    assert seqrl("align", data, "--method", "rm", "--out", tmp_path / "rm", *sizes, "--skip-bad")[0] == 0
    climb = ("--method", "rloo", "--init", tmp_path / "sft", "--reward", tmp_path / "rm", "--out", tmp_path / "rloo")
    out = seqrl("align", data, *climb, *steps, "--skip-bad", "--group", 2, "--answer", 4)[1]
    assert "reward before" in out and "KL, nats per answer" in out and "answers that end" in out
    code, out, _ = seqrl("align", "score", tmp_path / "rm", data, "--skip-bad", "--json")
    scored = json.loads(out)
    assert code == 0 and scored["what"] == "reward" and np.shape(scored["values"]) == (22, 2)

    code, _, err = seqrl("align", data, *preference, *steps, "--width", 16)
    assert code == 2 and "width is 16, and 8 of the weights to begin with" in err
    code, _, err = seqrl("align", data, *preference, "--context", 32, "--steps", 3, "--batch", 2)
    assert code == 2 and "belongs to another run: batch is 4 there and 2 here" in err
    code, _, err = seqrl("align", data, "--method", "pppo", "--out", tmp_path / "pppo")
    assert code == 2 and "unknown method 'pppo'" in err
