"""The command line, `seqrl`. Heavy imports stand inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from seqrl_jax.bench.runner import Problem, Progress
    from seqrl_jax.bench.suites import AlignmentSuite
    from seqrl_jax.lm.gpt import GPT
    from seqrl_jax.tasks.tabular import TabularPOMDP

BAD_INPUT = 2


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"seqrl: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0, or 2 after one line on stderr for bad input."""
    options = _parser().parse_args(arguments)
    warnings.showwarning = _note
    try:
        options.command(options)
    except BrokenPipeError:
        # The reader of our output has left; a second error while Python flushes it would say nothing more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"seqrl: {_one_line(error)}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("seqrl: interrupted; finished cells are kept", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="seqrl", description="Reinforcement learning with sequence models, on tasks solved exactly.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Callable[[argparse.Namespace], None], about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.add_argument("--json", action="store_true", help="print JSON for machines")
        added.set_defaults(command=run)
        return added

    task_help = "NAME, NAME:key=value,... or a path ending in .POMDP"

    listing = command("list", _list, "List tasks, agents and suites, or describe one task.")
    listing.add_argument("task", nargs="?", help="a task to describe")

    solve = command("solve", _solve, "Print a task's certified values.")
    solve.add_argument("task", help=task_help)
    solve.add_argument("--horizon", type=int, help="steps of an episode")
    solve.add_argument("--discount", type=float, help="discount in (0, 1]")
    solve.add_argument("--episodes", type=int, help="also play the kept optimal policy this often in the environment")
    solve.add_argument("--memory-states", type=_positive, help="also the best found with 1 ... N memory states")
    solve.add_argument("--fresh", action="store_true", help="solve again, whatever the cache holds")

    export = command("export", _export, "Write a task's arrays to a file.")
    export.add_argument("task", help=task_help)
    export.add_argument("--out", type=Path, required=True, help="a path ending in .npz or .POMDP")

    run = command("run", _run, "Run a suite, or chosen tasks and agents, and print the table.")
    run.add_argument("suite", nargs="?", default="quick", help="name of a suite (default: quick)")
    run.add_argument("--tasks", nargs="+", metavar="TASK", help=f"instead of the suite's: {task_help}")
    run.add_argument("--agents", nargs="+", metavar="AGENT", help="instead of the suite's: NAME or NAME:key=value,...")
    run.add_argument("--seeds", type=int, help="runs per cell")
    run.add_argument("--steps", type=int, help="environment steps per run (lm: gradient updates of a stage at most)")
    run.add_argument("--model", choices=("gpt", "rnn"), default="gpt", help="lm: the language model (default: gpt)")
    run.add_argument("--out", type=Path, help="directory of the results (default: runs/SUITE)")

    table = command("table", _table, "Print the table of a directory of results.")
    table.add_argument("directory", type=Path)

    audit = command("audit", _audit, "Tell, exactly, which methods are valid under partial observability.")
    audit.add_argument("--tasks", nargs="+", metavar="TASK", help=f"{task_help} (default: every task by name)")
    audit.add_argument("--out", type=Path, help="directory for audit.json and the picture of bias against lambda")

    throughput = command(
        "throughput", _throughput, "Measure environment steps per second, or (lm) the training of a language model."
    )
    throughput.add_argument("tasks", nargs="*", default=["tmaze"], metavar="TASK", help=f"lm, or {task_help}")
    throughput.add_argument("--batch", type=_positive, help="environments or texts side by side (2048; lm: 8)")
    throughput.add_argument("--steps", type=_positive, default=1000, help="steps of each environment in a call")
    throughput.add_argument("--repeats", type=_positive, default=7, help="warm calls, of which the median counts")
    _add_model(throughput, "lm: a byte model, of 25 million weights by default", 512, 8, 8, "bfloat16")

    align = command("align", _align, "Train a byte model on JSON lines of text or preferences of your own.")
    align.add_argument("data", type=Path, help="{text}, {prompt, completion} or {[prompt,] chosen, rejected} a line")
    align.add_argument("--method", default="sft", help="sft (default); rm; dpo, ipo, kto; ppo, rloo, grpo, dr_grpo")
    align.add_argument("--out", type=Path, required=True, help="directory of the weights, checkpoints and the report")
    align.add_argument("--init", type=Path, help="directory of the weights to begin with, such as an earlier --out")
    align.add_argument("--reward", type=Path, help="what ppo, rloo and grpo climb: the --out of a run of rm")
    align.add_argument("--steps", type=_positive, default=1000, help="gradient steps, or batches of answers")
    align.add_argument("--batch", type=_positive, default=16, help="examples, or answers, in each")
    align.add_argument("--group", type=_positive, default=8, help="answers to each prompt")
    align.add_argument("--answer", type=_positive, default=64, help="bytes of an answer that is drawn, at most")
    align.add_argument("--learning-rate", type=float, default=0.0005)
    align.add_argument("--beta", type=float, help="of dpo, ipo, kto (0.1), or the price of KL (0.05)")
    align.add_argument("--held-out", type=float, default=0.1, help="share of the examples that judge")
    align.add_argument("--check-every", type=_positive, default=100, help="steps between checkpoints")
    align.add_argument("--seed", type=int, default=0)
    align.add_argument("--skip-bad", action="store_true", help="count bad lines and leave them out")
    _add_model(align, "the model, where --init gives none", 256, 4, 4, "float32")

    report = command("report", _report, "Write the report of a directory of results.")
    report.add_argument("directory", type=Path)
    return parser


def _add_model(command: argparse.ArgumentParser, about: str, width: int, layers: int, heads: int, dtype: str) -> None:
    """The sizes of a byte model."""
    model = command.add_argument_group(about)
    model.add_argument("--width", type=_positive, default=width)
    model.add_argument("--layers", type=_positive, default=layers)
    model.add_argument("--heads", type=_positive, default=heads)
    model.add_argument("--context", type=_positive, default=256, help="length of the texts")
    model.add_argument("--dtype", choices=("float32", "bfloat16"), default=dtype)
    model.add_argument("--remat", action="store_true", help="recompute activations instead of keeping them")


def _model(options: argparse.Namespace) -> GPT:
    from seqrl_jax.lm.gpt import GPT
    from seqrl_jax.lm.text import VOCABULARY

    sizes = (options.context, options.width, options.layers, options.heads)
    return GPT(VOCABULARY, *sizes, dtype=options.dtype, remat=options.remat)


def _list(options: argparse.Namespace) -> None:
    from seqrl_jax.agents.registry import AGENTS
    from seqrl_jax.bench.oracles import ORACLES
    from seqrl_jax.bench.suites import SUITES
    from seqrl_jax.lm.registry import METHODS
    from seqrl_jax.lm.tasks import TASKS as LM_TASKS
    from seqrl_jax.lm.tasks import about
    from seqrl_jax.tasks.registry import TASKS, describe

    if options.task:
        told = describe(options.task)
        if options.json:
            return _print_json(vars(told))
        return print(f"{told.name}\n\n{told.paragraph}\n\n{told.picture}\n\nSeed idea: {told.idea}")
    agents = [
        *({"name": name, "track": "pomdp", "marked_wrong": False, "about": o.about} for name, o in ORACLES.items()),
        *(
            {"name": name, "track": entry.track, "marked_wrong": entry.agent.marked_wrong, "about": entry.about}
            for name, entry in AGENTS.items()
        ),
    ]
    agents += [{"name": name, "track": "lm", "marked_wrong": False, "about": m.about} for name, m in METHODS.items()]
    tasks = [{"name": name, "track": "pomdp", "idea": describe(name).idea} for name in TASKS]
    tasks += [{"name": name, "track": "lm", "idea": about(build)} for name, build in LM_TASKS.items()]
    suites = [{"name": suite.name, "about": suite.about} for suite in SUITES.values()]
    if options.json:
        return _print_json({"tasks": tasks, "agents": agents, "suites": suites})
    _print_columns("tasks (seqrl list NAME tells more)", [(task["name"], task["idea"]) for task in tasks])
    _print_columns(
        "agents (†: fails under partial observability, and is here to show by how much)",
        [(f"{agent['name']}{'†' if agent['marked_wrong'] else ''}", str(agent["about"])) for agent in agents],
    )
    _print_columns("suites", [(suite["name"], suite["about"]) for suite in suites])


def _solve(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from seqrl_jax.exact.solve import VALUES, cache_directory, solve
    from seqrl_jax.tasks import tabular
    from seqrl_jax.tasks.registry import make

    task = make(options.task)
    if options.horizon is not None:
        task = tabular.with_horizon(task, options.horizon)
    if options.discount is not None:
        task = tabular.with_discount(task, options.discount)
    if options.episodes is not None and options.episodes < 2:
        raise ValueError("--episodes needs at least 2")
    solution = solve(task, cache_directory(), fresh=options.fresh)
    told = {
        "task": options.task,
        "horizon": task.horizon,
        "discount": task.discount,
        "values": {name: asdict(solution.values[name]) for name in VALUES},
    }
    if options.episodes is not None:
        told["played"] = _play(task, solution, options.episodes)
    if options.memory_states is not None:
        from seqrl_jax.exact.ladder import ladder

        rungs = ladder(task, solution.stochastic, options.memory_states)
        told["memory_states"] = [{"memories": rung.memories, "lower": rung.value} for rung in rungs]
    if options.json:
        return _print_json(told)
    print(f"{options.task}: horizon {task.horizon}, discount {task.discount:g}")
    for name in VALUES:
        value = solution.values[name]
        ends = f"{value.lower:.7g}" if value.is_exact else f"[{value.lower:.7g}, {value.upper:.7g}]"
        print(f"  {name:<26}{ends:<26}{value.method}")
    for rung in told.get("memory_states", []):
        name = f"{rung['memories']} memory states"
        print(f"  {name:<26}{rung['lower']:<26.7g}lower: a policy found by gradient ascent")
    if options.episodes is not None:
        played = told["played"]
        print(f"  played {played['episodes']} episodes: {played['mean']:.7g} +- {played['standard_error']:.2g}")


def _play(task: TabularPOMDP, solution: Any, episodes: int) -> dict[str, Any]:
    import jax

    from seqrl_jax.bench.evaluation import controller_policy, simulate
    from seqrl_jax.tasks.simulator import tabular_env, tabular_params

    policy = controller_policy(solution.history)
    play = jax.jit(lambda key: simulate(key, tabular_env(task), tabular_params(task), policy, episodes, task.horizon))
    returns = play(jax.random.key(0))
    error = float(returns.std(ddof=1)) / episodes**0.5
    return {"episodes": episodes, "mean": float(returns.mean()), "standard_error": error}


def _export(options: argparse.Namespace) -> None:
    from seqrl_jax.tasks.export import export
    from seqrl_jax.tasks.registry import make

    export(make(options.task), options.out)
    if options.json:
        return _print_json({"task": options.task, "out": str(options.out)})
    print(f"wrote {options.out}")


def _run(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from seqrl_jax.bench.runner import Budget, run_table
    from seqrl_jax.bench.suites import AlignmentSuite, check, suite

    chosen = suite(options.suite)
    if isinstance(chosen, AlignmentSuite):
        return _run_alignment(options, chosen)
    chosen = replace(
        chosen,
        tasks=tuple(options.tasks or chosen.tasks),
        agents=tuple(options.agents or chosen.agents),
        seeds=chosen.seeds if options.seeds is None else options.seeds,
        steps=chosen.steps if options.steps is None else options.steps,
    )
    check(chosen)
    directory = options.out or Path("runs") / chosen.name
    budget = Budget(chosen.steps, chosen.evaluations, tuple(range(chosen.seeds)))
    _use_every_core()
    _keep_compiled_programs()
    with _bars() as bar:
        problems = _problems(chosen.tasks, bar("solving"))
        for _ in run_table(chosen.agents, problems, budget, directory, chosen.name, bar):
            pass
    _tell(directory, options.json)


def _run_alignment(options: argparse.Namespace, chosen: AlignmentSuite) -> None:
    from dataclasses import replace

    from seqrl_jax.bench.alignment import Plan, run_alignment
    from seqrl_jax.bench.suites import check_alignment

    chosen = replace(
        chosen,
        tasks=tuple(options.tasks or chosen.tasks),
        methods=tuple(options.agents or chosen.methods),
        seeds=chosen.seeds if options.seeds is None else options.seeds,
    )
    check_alignment(chosen)
    directory = options.out or Path("runs") / chosen.name
    seeds = tuple(range(chosen.seeds))
    plan = Plan(chosen.name, chosen.methods, chosen.tasks, seeds, options.model, updates=options.steps)
    _keep_compiled_programs()
    with _bars() as bar:
        for _ in run_alignment(plan, directory, bar):
            pass
    _tell(directory, options.json)


def _problems(specs: Sequence[str], progress: Progress) -> list[Problem]:
    from seqrl_jax.bench.runner import problem

    problems = []
    for spec in specs:
        problems.append(problem(spec))
        progress(len(problems), len(specs))
    return problems


def _use_every_core() -> None:
    """Let JAX see each core of a CPU as a device of its own, over which runs are spread.

    A single device runs the many small operations of a recurrent network one after another.
    """
    import contextlib
    import os

    import jax

    # Refused where JAX was used before: then it goes on with the devices that it has.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


def _keep_compiled_programs() -> None:
    import jax

    from seqrl_jax.exact.solve import cache_directory

    jax.config.update("jax_compilation_cache_dir", str(cache_directory() / "compiled"))


def _bars() -> Any:
    """A context that gives `name -> progress`, drawn on stderr while it is a terminal."""
    import contextlib

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

    @contextlib.contextmanager
    def shown() -> Any:
        console = Console(stderr=True)
        with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

            def bar(name: str) -> Any:
                line = bars.add_task(name, total=None)
                return lambda done, total: bars.update(line, completed=done, total=total)

            yield bar

    return shown()


def _audit(options: argparse.Namespace) -> None:
    from rich.console import Console

    from seqrl_jax.bench.audit import audit
    from seqrl_jax.bench.audit_report import console_audit, told_as_json, write_audit
    from seqrl_jax.tasks.registry import TASKS

    _keep_compiled_programs()
    with _bars() as bar:
        problems = _problems(tuple(options.tasks or TASKS), bar("solving"))
        best = [problem.solution.values["memoryless_stochastic"].lower for problem in problems]
        told = audit([problem.task for problem in problems], best, bar("auditing"))
    if options.json:
        _print_json(told_as_json(told))
    else:
        Console().print(console_audit(told))
    for path in write_audit(told, options.out) if options.out else ():
        _note(f"wrote {path}")


def _throughput(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from seqrl_jax.bench.throughput import measure, random_policy_rollout
    from seqrl_jax.tasks.registry import make
    from seqrl_jax.tasks.simulator import tabular_env, tabular_params

    if options.tasks == ["lm"]:
        return _training_throughput(options)
    batch = options.batch or 2048
    tasks = {spec: make(spec) for spec in options.tasks}
    rows = measure(
        {
            spec: random_policy_rollout(tabular_env(task), tabular_params(task), batch, options.steps)
            for spec, task in tasks.items()
        },
        options.repeats,
    )
    if options.json:
        return _print_json({"rows": [asdict(row) for row in rows]})
    for row in rows:
        print(
            f"{row.what}: {row.steps_per_second / 1e6:.2f} M steps/s, {row.batch} environments, "
            f"compiled in {row.compile_seconds:.1f} s, on {row.device}"
        )


def _training_throughput(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from seqrl_jax.bench.lm_throughput import training_speed

    row = training_speed(_model(options), options.batch or 8, options.repeats)
    if options.json:
        return _print_json({"rows": [{**asdict(row), "share_of_peak": row.share}]})
    print(
        f"lm: {row.parameters / 1e6:.1f} M weights in {options.dtype}{', remat' if options.remat else ''}, "
        f"{row.batch} texts of {options.context}: {row.tokens_per_second:,.0f} tokens/s, {row.share:.0%} of "
        f"{row.peak / 1e12:.3g} TFLOP/s ({row.peak_is}), compiled in {row.compile_seconds:.1f} s, on {row.device}"
    )


def _align(options: argparse.Namespace) -> None:
    from dataclasses import asdict
    from functools import cache

    from seqrl_jax.bench.text_run import TextRun, run_text

    run = TextRun(
        method=options.method,
        steps=options.steps,
        batch=options.batch,
        learning_rate=options.learning_rate,
        beta=options.beta,
        held_out=options.held_out,
        check_every=options.check_every,
        seed=options.seed,
        group=options.group,
        answer=options.answer,
    )
    _keep_compiled_programs()
    with _bars() as bar:
        # Drawn with the first step, so that an error is one line.
        line = cache(lambda: bar(run.method))
        report = run_text(
            run,
            options.data,
            options.out,
            _model(options),
            options.init,
            options.skip_bad,
            lambda done, total: line()(done, total),
            options.reward,
        )
    if options.json:
        return _print_json(asdict(report))
    print(f"{report.examples} examples, {report.held_out} held out, {report.skipped} bad lines skipped")
    if report.truncated:
        print(f"{report.truncated} examples are longer than the context and were cut")
    named = (
        ("loss, nats", report.loss),
        ("prefers what was chosen", report.accuracy),
        ("prefer the longer", report.longer),
        ("count bytes", report.unigram),
        ("reward before, deviations", report.reward_before),
        ("reward", report.reward),
        ("KL, nats per answer", report.kl),
    )
    for name, told in named:
        if told:
            print(f"  {name:<26}{told['mean']:.4f} [{told['low']:.4f}, {told['high']:.4f}]")
    for before, after in zip(report.samples_before, report.samples_after, strict=True):
        print(f"  {before['prompt']!r}\n    before: {before['said']!r}\n    after:  {after['said']!r}")
    print(f"weights, checkpoint and report: {options.out}")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def _table(options: argparse.Namespace) -> None:
    _tell(options.directory, options.json, report=False)


def _report(options: argparse.Namespace) -> None:
    _tell(options.directory, options.json, table=False)


def _tell(directory: Path, as_json: bool, table: bool = True, report: bool = True) -> None:
    """Print the table of a directory, write its report, or both."""
    from rich.console import Console

    from seqrl_jax.bench.alignment_results import holds_alignment
    from seqrl_jax.bench.report import console_table, write_report
    from seqrl_jax.bench.results import read_cells
    from seqrl_jax.bench.suites import in_order
    from seqrl_jax.bench.table import aggregate_rows, problems, table_rows

    if holds_alignment(directory):
        return _tell_alignment(directory, as_json, table, report)
    cells, damaged = read_cells(directory)
    cells = in_order(cells)
    path = write_report(cells, directory, damaged, command=" ".join(["seqrl", *sys.argv[1:]])) if report else None
    if as_json:
        told: dict[str, Any] = {"report": str(path)} if path else {}
        if table:
            told |= {"rows": table_rows(cells), "aggregate": aggregate_rows(cells), "errors": problems(cells)}
        return _print_json({**told, "damaged": damaged})
    for message in damaged:
        _note(f"skipped {message}")
    if table:
        console = Console()
        console.print(console_table(cells, console.width))
    if path:
        print(f"report: {path}")


def _tell_alignment(directory: Path, as_json: bool, table: bool, report: bool) -> None:
    """The same for results of the language-model track."""
    from rich.console import Console

    from seqrl_jax.bench.alignment_report import write_alignment_report
    from seqrl_jax.bench.alignment_results import read_alignment
    from seqrl_jax.bench.alignment_table import alignment_problems, alignment_rows, console_alignment, in_registry_order

    cells, damaged = read_alignment(directory)
    cells = in_registry_order(cells)
    command = " ".join(["seqrl", *sys.argv[1:]])
    path = write_alignment_report(cells, directory, damaged, command) if report else None
    if as_json:
        told: dict[str, Any] = {"report": str(path)} if path else {}
        if table:
            told |= {"rows": alignment_rows(cells), "errors": alignment_problems(cells)}
        return _print_json({**told, "damaged": damaged})
    for message in damaged:
        _note(f"skipped {message}")
    if table:
        Console().print(console_alignment(cells))
    if path:
        print(f"report: {path}")


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, allow_nan=False))


def _print_columns(title: str, rows: Sequence[tuple[str, str]]) -> None:
    import shutil
    import textwrap

    width = max(60, min(110, shutil.get_terminal_size().columns))
    print(title)
    for name, about in rows:
        print(textwrap.fill(f"  {name:<20}{about}", width, subsequent_indent=" " * 22))
    print()


def _note(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"note: {_one_line(message)}", file=sys.stderr)


def _one_line(message: object) -> str:
    return " ".join(str(message).split()) or type(message).__name__


if __name__ == "__main__":
    sys.exit(main())
