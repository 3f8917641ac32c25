"""The words of the command line: which commands there are, and what each takes. Nothing heavy is imported for it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from seqrl_jax import __version__
from seqrl_jax.commands import values
from seqrl_jax.commands.console import one_line

BAD_INPUT = 2
"""The exit code of what was not understood."""
CACHING = ("solve", "run", "verify", "audit", "claims", "watch", "play", "align")
"""Commands that solve or compile what a later one may want."""
TASK = "NAME, NAME:key=value,... or a path ending in .POMDP"
GAME = f"{TASK}; games of dialogues are tasks, too"
Command = Callable[..., argparse.ArgumentParser]
"""(name, about, module of `commands` where it is called otherwise) -> the parser of a new command."""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    two_words: tuple[str, ...] = ()
    """Names of commands that are two words."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = sys.argv[1:] if args is None else list(args)
        joined = " ".join(words[:2])
        return super().parse_known_args([joined, *words[2:]] if joined in self.two_words else words, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"seqrl: {one_line(message)} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """Of the whole command line; what it parses has, as `command`, the module of `commands` that runs it."""
    parser = _Parser(prog="seqrl", description="Reinforcement learning with sequence models, on tasks solved exactly.")
    parser.set_defaults(no_cache=False)
    parser.two_words = ("align sample", "align score")
    parser.add_argument("--version", action="version", version=f"seqrl {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, about: str, module: str = "") -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.add_argument("--json", action="store_true", help="print JSON for machines")
        if name.partition(" ")[0] in CACHING:
            added.add_argument(
                "--no-cache", action="store_true", help="neither read nor keep solutions and compiled programs"
            )
        added.set_defaults(command=module or name)
        return added

    for add in (_add_tasks, _add_tables, _add_looks, _add_texts, _add_proofs):
        add(command)
    return parser


def _add_tasks(command: Command) -> None:
    """Tasks and their data."""
    listing = command("list", "List tasks, agents and suites of every track, or describe one.", module="listing")
    listing.add_argument("name", nargs="?", help="a task, an agent or a suite to describe")

    solve = command("solve", "Print a task's certified values.")
    solve.add_argument("task", help=GAME)
    solve.add_argument(
        "--horizon", type=values.horizon, help="steps of an episode, or infinite where there is a discount"
    )
    solve.add_argument("--discount", type=values.within("Discount"), help="discount in (0, 1]")
    solve.add_argument(
        "--episodes",
        type=values.within("Episodes"),
        help="also play the kept optimal policy this often in the environment",
    )
    solve.add_argument(
        "--memory-states", type=values.within("Depth"), help="also the best found with 1 ... N memory states"
    )
    solve.add_argument(
        "--seconds",
        type=values.within("PositiveFloat"),
        help="time for the history value, and as much for memoryless ones; all then depend on the machine",
    )
    solve.add_argument("--memory", type=values.byte_count, help="bytes for the history value, such as 500M or 2G (4G)")
    solve.add_argument("--fresh", action="store_true", help="solve again, whatever the cache holds")

    export = command("export", "Write a task's arrays to a file.")
    export.add_argument("task", help=GAME)
    export.add_argument("--out", type=values.file, required=True, help="a path ending in .npz or .POMDP")

    data = command("data", "Write dialogues of a game's speakers to a file.")
    data.add_argument("game", help="NAME or NAME:key=value,...")
    data.add_argument("--episodes", type=values.within("Count"), default=1000, help="how many dialogues (1000)")
    data.add_argument("--seed", type=values.within("Seed"), default=0, help="of the dialogues (0)")
    data.add_argument(
        "--out", type=values.place, required=True, help="a path ending in .jsonl or .parquet, or minari:NAME"
    )


def _add_tables(command: Command) -> None:
    """Filling tables, and reading them."""
    run = command("run", "Run a suite, or chosen tasks and agents, and print the table.")
    run.add_argument("suite", nargs="?", help="name of a suite (default: quick, or the first that knows the names)")
    run.add_argument("--tasks", nargs="+", metavar="TASK", help=f"instead of the suite's: {TASK}")
    run.add_argument("--agents", nargs="+", metavar="AGENT", help="instead of the suite's: NAME or NAME:key=value,...")
    run.add_argument("--log", type=values.path, help="of dialogues: learn from this .jsonl, .parquet or minari:NAME")
    run.add_argument("--seeds", type=values.within("Count"), help="runs per cell")
    run.add_argument(
        "--steps", type=values.within("Steps"), help="environment steps per run (lm, dialogue: updates at most)"
    )
    run.add_argument("--out", type=values.place, help="directory of the results (default: runs/SUITE, or runs/own)")
    run.add_argument("--keep-old", action="store_true", help="keep cells that another version of the code made")
    run.add_argument(
        "--checkpoint-every",
        type=values.within("Count"),
        default=1,
        metavar="K",
        help="chunks between two kept states (1)",
    )
    run.add_argument("--log-to", choices=("tensorboard", "wandb", "trackio"), help="also log to this tracker, an extra")

    run.add_argument(
        "--executor", choices=("local", "ray", "slurm"), default="local", help="where rows run (local: here)"
    )
    run.add_argument("--address", help="of a Ray cluster (default: the one that runs here, or one of this machine)")
    run.add_argument(
        "--resources",
        nargs="+",
        default=(),
        metavar="NAME=VALUE",
        help="of ray, slurm: of each row, cpus=N gpus=N ...",
    )
    run.add_argument("--attempts", type=values.within("Depth"), help="of ray, slurm: how often a row is sent (3)")
    _add_processes(run)

    table = command("table", "Print the table of a directory of results.")
    table.add_argument("directory", type=values.path)
    forms = ("text", "md", "latex", "html", "csv", "json")
    table.add_argument("--format", choices=forms, help="write it so, with the best in bold where it can be")
    table.add_argument("--columns", nargs="+", metavar="COLUMN", help="instead: row by row, such as task agent score")
    table.add_argument("--sort", nargs="+", metavar="COLUMN", help="row by row: numbers best first, texts by name")
    table.add_argument("--profile", action="store_true", help="instead: the share of runs above each score")
    table.add_argument(
        "--improvement", nargs=2, metavar=("A", "B"), help="instead: how likely a run of A scores higher than one of B"
    )

    compare = command("compare", "Compare two runs or agents, paired by task and seed: second minus first.")
    compare.add_argument("directories", nargs="+", type=values.path, metavar="DIRECTORY", help="of results, one or two")
    compare.add_argument("--agents", nargs=2, metavar=("A", "B"), help="A of the first, B of the second directory")

    claims = command("claims", "Tell which statements of the lecture hold, each with what was measured.")
    claims.add_argument("directory", type=values.path, nargs="?", help="of recorded suites and measurements")


def _add_looks(command: Command) -> None:
    """Episodes, validity and speed."""
    watch = command("watch", "Show an episode: what is, is seen, is believed and is done, and what that costs.")
    watch.add_argument("task", help=TASK)
    who = watch.add_mutually_exclusive_group()
    who.add_argument("--agent", metavar="AGENT", help="trained now, for --steps steps")
    who.add_argument("--checkpoint", type=values.path, metavar="FILE", help="what `Fitted.save` wrote")
    who.add_argument("--random", action="store_true", help="any action alike")
    who.add_argument("--optimal", action="store_true", help="the best policy of the history (default)")
    watch.add_argument("--steps", type=values.within("Steps"), default=50_000, help="of training (50000)")
    watch.add_argument("--seed", type=values.within("Seed"), default=0, help="of training and of the episode (0)")
    watch.add_argument("--gif", type=values.file, metavar="FILE", help="also a film of it")

    play = command("play", "Act yourself, with the exact belief on demand.")
    play.add_argument("task", help=TASK)
    play.add_argument("--seed", type=values.within("Seed"), default=0, help="of the episodes (0)")

    audit = command("audit", "Tell, exactly, which methods are valid: under partial observability, on language tasks.")
    audit.add_argument("--tasks", nargs="+", metavar="TASK", help=f"{GAME}, or one of lm (default: all by name)")
    audit.add_argument(
        "--out", type=values.directory, help="directory for audit.json and the picture of bias against lambda"
    )

    throughput = command(
        "throughput", "Measure how fast environments step, agents train, dialogues go on, or a language model trains."
    )
    throughput.add_argument(
        "what",
        nargs="*",
        metavar="[KIND] NAME",
        help="env (default) and tasks, train and tasks, dialogue and games, or lm (env tmaze)",
    )
    throughput.add_argument("--agents", nargs="+", metavar="AGENT", help="train: these (ppo)")
    throughput.add_argument(
        "--batch",
        nargs="+",
        type=values.within("Count"),
        help="so many side by side (2048, or what devices divide; lm: 8; train: one a device)",
    )
    throughput.add_argument(
        "--devices",
        nargs="+",
        type=values.within("Devices"),
        help="spread over so many (all, of a CPU its cores; lm: 1)",
    )
    throughput.add_argument("--steps", type=values.within("Count"), help="steps of each in a call (1000; not of lm)")
    throughput.add_argument(
        "--repeats", type=values.within("Count"), default=7, help="warm calls, of which the median counts (7)"
    )
    throughput.add_argument(
        "--picture", type=values.file, metavar="FILE", help="also a PNG of steps/s against the batch"
    )
    _add_model(throughput, "lm: a byte model in bfloat16, of 25 million weights, where nothing else is said", None)


def _add_texts(command: Command) -> None:
    """Language models of texts of one's own."""
    align = command("align", "Train a language model on texts, preferences or prompts of your own.")
    align.add_argument(
        "data",
        type=values.path,
        help="a .jsonl, .json or .txt file (also .gz), a .parquet file, or a directory of such files, of {text}, "
        "{prompt}, {prompt, completion[, label]}, {[prompt,] chosen, rejected}, {messages}, or {instruction, output}",
    )
    align.add_argument(
        "--test", type=values.path, help="what judges, in the same formats, instead of a part of the data"
    )
    align.add_argument("--method", default="sft", help="sft (default); rm; dpo, ipo, kto; ppo, rloo, grpo, dr_grpo")
    align.add_argument(
        "--out", type=values.place, required=True, help="directory of the weights, checkpoints and the report"
    )
    align.add_argument(
        "--init",
        type=values.path,
        help="directory of a model to begin with: an earlier --out, or one in GPT-2's layout",
    )
    align.add_argument("--reward", type=values.path, help="what ppo, rloo and grpo maximise: the --out of a run of rm")
    align.add_argument(
        "--steps", type=values.within("Count"), default=1000, help="gradient steps, or batches of answers (1000)"
    )
    align.add_argument(
        "--batch", type=values.within("Count"), default=16, help="examples, packed rows or answers in each (16)"
    )
    align.add_argument("--packing", action="store_true", help="of sft: short texts share rows of --context tokens")
    align.add_argument("--group", type=values.within("Count"), default=8, help="answers to each prompt (8)")
    align.add_argument(
        "--answer", type=values.within("Count"), default=64, help="tokens of a drawn answer and its end, at most (64)"
    )
    align.add_argument(
        "--learning-rate", type=values.within("PositiveFloat"), default=0.0005, help="of Adam, falling to 0 (0.0005)"
    )
    align.add_argument("--beta", type=values.within("Weight"), help="of dpo, ipo, kto (0.1), or the price of KL (0.05)")
    align.add_argument(
        "--held-out", type=values.within("Part"), default=0.1, help="share of the prompts that judge (0.1)"
    )
    align.add_argument(
        "--check-every", type=values.within("Count"), default=100, help="steps between checkpoints (100)"
    )
    align.add_argument("--log-every", type=values.within("Count"), help="steps between lines (a hundredth of all)")
    align.add_argument("--seed", type=values.within("Seed"), default=0, help="of weights, batches and answers (0)")
    align.add_argument(
        "--mesh",
        type=values.mesh,
        default="1x1",
        metavar="DATAxMODEL",
        help="devices: texts over DATA, matrices over both (1x1)",
    )
    align.add_argument("--skip-bad", action="store_true", help="count bad lines and leave them out")
    _add_processes(align)
    _add_model(align, "the model; sizes that are not given are those of --init", "float32", "xla", False)

    sample = command("align sample", "Say what a model says behind a prompt.", module="align_sample")
    sample.add_argument("directory", type=values.path, help="of a model: an --out of align, or one in GPT-2's layout")
    sample.add_argument("prompt")
    sample.add_argument(
        "--chat", action="store_true", help="the prompt is what a user says, written by the model's chat template"
    )
    sample.add_argument(
        "--length", type=values.within("Count"), help="tokens, at most (100, or fewer where the model reads fewer)"
    )
    sample.add_argument("--count", type=values.within("Count"), default=1, help="how many (1)")
    sample.add_argument(
        "--temperature", type=values.within("PositiveFloat"), default=1.0, help="as learned at 1, surer below (1.0)"
    )
    sample.add_argument("--seed", type=values.within("Seed"), default=0, help="of what is drawn (0)")

    score = command("align score", "Score the answers of a file by a reward model or a language model.", "align_score")
    score.add_argument("directory", type=values.path, help="of a model: an --out of align, or one in GPT-2's layout")
    score.add_argument("data", type=values.path, help="as of align")
    score.add_argument("--skip-bad", action="store_true", help="count bad lines and leave them out")


def _add_proofs(command: Command) -> None:
    """Whether results are right, and results packed for others."""
    check = command("check", "Check a directory of results: bounds, seeds, missing cells, versions; 1 if it is wrong.")
    check.add_argument("directory", type=values.path)

    verify = command(
        "verify", "Run random cells of a directory of results again, and tell whether they come out alike."
    )
    verify.add_argument("directory", type=values.path)
    verify.add_argument("--sample", type=values.within("Count"), default=3, metavar="K", help="how many cells (3)")
    verify.add_argument("--seed", type=values.within("Seed"), default=0, help="of the choice")
    verify.add_argument(
        "--out",
        type=values.file,
        help="a file for the verdicts, with hashes, machine and versions",
    )

    release = command("release", "Pack a directory of results that passes `check` into one that never changes.")
    release.add_argument("directory", type=values.path)
    release.add_argument("--out", type=values.directory, required=True, help="the release; must not exist")
    release.add_argument(
        "--author", type=values.name, action="append", metavar="NAME", help="of the results; may be repeated"
    )

    cite = command("cite", "Print how a release is cited, if its files are what was released.")
    cite.add_argument("directory", type=values.path)

    command("doctor", "Tell versions, devices and caches, and what is missing for which extra.")

    completion = command("completion", "Print a script by which a shell completes what this program takes.")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))

    report = command("report", "Write a site about directories of results, or a page about a run of align.")
    report.add_argument("directories", nargs="+", type=values.path, metavar="DIRECTORY")
    report.add_argument(
        "--out", type=values.directory, help="its directory (default: site in the one; several need it)"
    )


def _add_processes(command: argparse.ArgumentParser) -> None:
    """Which of several processes this is."""
    processes = command.add_argument_group("several hosts, on each of which this command is given")
    processes.add_argument(
        "--coordinator", metavar="HOST:PORT", help="of the first; auto where Slurm, Open MPI or Kubernetes start them"
    )
    processes.add_argument("--processes", type=values.within("Count"), help="how many there are")
    processes.add_argument(
        "--process", type=values.within("Place"), help="which this is, from 0 on; 0 writes and prints"
    )


def _add_model(
    command: argparse.ArgumentParser,
    about: str,
    dtype: str | None,
    attention: str | None = None,
    remat: bool | None = None,
) -> None:
    """Of a language model; None, as its sizes are, where the command can tell whether something was said."""
    model = command.add_argument_group(about)
    sizes = (
        ("width", "Width", "numbers between its layers, for each token"),
        ("layers", "Depth", "how many"),
        ("heads", "Depth", "of attention, in each layer"),
        ("context", "Count", "length of the texts, in tokens"),
    )
    for name, domain, meaning in sizes:
        model.add_argument(f"--{name}", type=values.within(domain), help=meaning)
    unless = lambda value: f" ({value})" if value is not None else ""
    model.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default=dtype, help=f"of its products{unless(dtype)}"
    )
    model.add_argument(
        "--attention", choices=("xla", "cudnn"), default=attention, help=f"or NVIDIA's, in bfloat16{unless(attention)}"
    )
    model.add_argument("--remat", action="store_true", default=remat, help="recompute activations, do not keep them")
