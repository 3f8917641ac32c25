"""What a shell completes of a command line: a script made of the parser itself, so that it says what the parser takes.

Only the standard library is needed. Names of tasks, agents and suites are written into the script: a key press starts
no Python.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

PLAIN = re.compile(r"[\w.+-]+", re.ASCII)
"""Names that no shell takes apart."""


@dataclass(frozen=True)
class Option:
    """flag: its long name. values: words that it takes, none where it takes a path or a number. count: how many values
    it takes: "none", "one", or "many"."""

    flag: str
    about: str
    values: tuple[str, ...]
    count: str


@dataclass(frozen=True)
class Command:
    """A command with its options. names: words that stand behind it without an option; none where that is a path."""

    name: str
    about: str
    options: tuple[Option, ...]
    names: tuple[str, ...]


def commands(parser: argparse.ArgumentParser, values: Mapping[str, Sequence[str]]) -> list[Command]:
    """The commands of a parser. values: the words that arguments of a name (their `dest`) take."""
    (tree,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    about = {action.dest: action.help or "" for action in tree._choices_actions}
    found = [_command(name, about[name], sub, values) for name, sub in tree.choices.items()]
    # `align sample` is offered behind `align`.
    inner = lambda name: tuple(other.name.split()[1] for other in found if other.name.startswith(f"{name} "))
    return [Command(each.name, each.about, each.options, inner(each.name) + each.names) for each in found]


def _command(name: str, about: str, parser: argparse.ArgumentParser, values: Mapping[str, Sequence[str]]) -> Command:
    words = lambda action: tuple(filter(PLAIN.fullmatch, action.choices or values.get(action.dest, ())))
    options = tuple(
        Option(action.option_strings[-1], action.help or "", words(action), _count(action))
        for action in parser._actions
        if action.option_strings
    )
    names = [word for action in parser._actions if not action.option_strings for word in words(action)]
    return Command(name, about, options, tuple(dict.fromkeys(names)))


def _count(action: argparse.Action) -> str:
    if action.nargs == 0:
        return "none"
    return "one" if action.nargs in (None, 1, "?") else "many"


def bash(commands: Sequence[Command]) -> str:
    """For bash; a word that nothing is known of is completed as a path."""
    double = [each.name for each in commands if " " in each.name]
    return "\n".join(
        [
            "_seqrl() {",
            '  local current="${COMP_WORDS[COMP_CWORD]}" command="${COMP_WORDS[1]}" first=2',
            '  local option="" given=0 flags="" names="" values="" count="none" i',
            "  COMPREPLY=()",
            "  if ((COMP_CWORD == 1)); then",
            f'    COMPREPLY=($(compgen -W "{" ".join(each.name for each in commands if " " not in each.name)}"'
            ' -- "$current"))',
            "    return",
            "  fi",
            "  if ((COMP_CWORD > 2)); then",
            '    case "$command ${COMP_WORDS[2]}" in',
            f'      {"|".join(map(_quoted, double))}) command="$command ${{COMP_WORDS[2]}}" first=3 ;;',
            "    esac",
            "  fi",
            "  for ((i = first; i < COMP_CWORD; i++)); do",
            '    if [[ "${COMP_WORDS[i]}" == -* ]]; then option="${COMP_WORDS[i]}" given=0; else ((given += 1)); fi',
            "  done",
            '  case "$command" in',
            *(line for each in commands for line in _bash_case(each)),
            "  esac",
            '  if [[ $count == "none" || ( $count == "one" && $given -gt 0 ) ]]; then values="$names"; fi',
            '  if [[ "$current" == -* ]]; then values="$flags"; fi',
            '  COMPREPLY=($(compgen -W "$values" -- "$current"))',
            "}",
            "complete -o default -F _seqrl seqrl",
            "",
        ]
    )


def zsh(commands: Sequence[Command]) -> str:
    """For zsh, which takes what is made for bash."""
    return f"autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n{bash(commands)}"


def fish(commands: Sequence[Command]) -> str:
    """For fish, with what each word means beside it."""
    return "\n".join(line for each in commands for line in _fish_lines(each)) + "\n"


SHELLS: Mapping[str, Callable[[Sequence[Command]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}


def _bash_case(command: Command) -> Iterator[str]:
    yield f"    {_quoted(command.name)})"
    yield f'      flags="{" ".join(option.flag for option in command.options)}" names="{" ".join(command.names)}"'
    yield '      case "$option" in'
    for option in command.options:
        if option.count != "none":
            yield f'        {option.flag}) count="{option.count}" values="{" ".join(option.values)}" ;;'
    yield "        *) ;;"
    yield "      esac"
    yield "      ;;"


def _fish_lines(command: Command) -> Iterator[str]:
    first, *rest = command.name.split()
    if not rest:
        yield f"complete -c seqrl -f -n __fish_use_subcommand -a {first} -d {_quoted(command.about)}"
    behind = f"complete -c seqrl -n '__fish_seen_subcommand_from {(rest or [first])[0]}'"
    if command.names:
        yield f"{behind} -a {_quoted(' '.join(command.names))}"
    for option in command.options:
        takes = (
            ""
            if option.count == "none"
            else " -r" + (f" -f -a {_quoted(' '.join(option.values))}" if option.values else "")
        )
        yield f"{behind} -l {option.flag.removeprefix('--')} -d {_quoted(option.about)}{takes}"


def _quoted(text: str) -> str:
    """In single quotes, for either shell."""
    return "'" + text.replace("\\", "").replace("'", "’").replace("\n", " ") + "'"
