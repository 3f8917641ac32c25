"""What a shell offers is what the parser takes."""

import json
import shutil
import subprocess
import sys

import pytest

from seqrl_jax import cli
from seqrl_jax.commands.arguments import parser
from seqrl_jax.commands.completion import names
from seqrl_jax.completion import SHELLS, bash, commands, zsh


@pytest.fixture(scope="module")
def known():
    return commands(parser(), names())


@pytest.fixture(scope="module")
def offered(known, tmp_path_factory):
    """words -> what bash offers for the last of them."""
    script = tmp_path_factory.mktemp("completion") / "seqrl.bash"
    script.write_text(bash(known))

    def offered(*words):
        line = f'source {script}; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _seqrl; printf "%s\\n" "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "-c", line, "-", "seqrl", *words], capture_output=True, text=True, check=True)
        assert not done.stderr
        return done.stdout.split()

    return offered


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")


@needs_bash
def test_commands_are_offered_by_their_beginning(offered):
    assert offered("ver") == ["verify"] and {"run", "table", "solve", "completion"} <= set(offered(""))
    assert offered("align", "s") == ["sample", "score"]


@needs_bash
def test_options_are_those_of_the_command(offered):
    assert offered("table", "runs", "--f") == ["--format"]
    assert offered("align", "sample", "model", "--temp") == ["--temperature"]
    assert offered("align", "--temp") == []


@needs_bash
def test_values_are_offered_behind_their_option_alone(offered):
    assert offered("table", "runs", "--format", "l") == ["latex"]
    assert offered("run", "--tasks", "tmaze", "tiger_") == ["tiger_repeated"], "of several values, each"
    assert offered("run", "--seeds", "3", "qui") == ["quick"], "behind the one value of an option, what else there is"
    assert offered("run", "--out", "qui") == [], "a path"
    assert "reinforce" in offered("watch", "tiger", "--agent", "rei")
    assert offered("solve", "tmaz") == ["tmaze"]


def test_every_option_of_every_command_is_known(known):
    (tree,) = (action for action in parser()._actions if action.dest == "command" or action.choices)
    assert [command.name for command in known] == list(tree.choices)
    for command in known:
        flags = {action.option_strings[-1] for action in tree.choices[command.name]._actions if action.option_strings}
        assert {option.flag for option in command.options} == flags


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_reads_its_script(shell, known, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    script = tmp_path / "script"
    script.write_text(SHELLS[shell](known))
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_fish_is_told_every_option_within_closed_quotes(known):
    lines = SHELLS["fish"](known).splitlines()
    assert all(line.startswith("complete -c seqrl ") and line.count("'") % 2 == 0 for line in lines)
    assert any("from table'" in line and "-l format" in line and "latex" in line for line in lines)


def test_the_command_prints_it(known, capsys):
    assert cli.main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out == zsh(known)
    assert cli.main(["completion", "bash", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"shell": "bash", "script": bash(known)}


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "seqrl_jax", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("seqrl ")
