"""`seqrl list`: tasks, agents and suites."""

from __future__ import annotations

import argparse

from seqrl_jax.agents.registry import AGENTS
from seqrl_jax.tracks.oracles import ORACLES
from seqrl_jax.tracks.suites import SUITES
from seqrl_jax.commands.console import print_columns, print_json
from seqrl_jax.lm.registry import METHODS
from seqrl_jax.lm.tasks import TASKS as LM_TASKS
from seqrl_jax.lm.tasks import about
from seqrl_jax.tasks.registry import TASKS, describe


def run(options: argparse.Namespace) -> None:
    """Print every name, or what one task is."""
    if options.task:
        told = describe(options.task)
        if options.json:
            return print_json(vars(told))
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
        return print_json({"tasks": tasks, "agents": agents, "suites": suites})
    print_columns("tasks (seqrl list NAME tells more)", [(task["name"], task["idea"]) for task in tasks])
    print_columns(
        "agents (†: fails under partial observability, and is here to show by how much)",
        [(f"{agent['name']}{'†' if agent['marked_wrong'] else ''}", str(agent["about"])) for agent in agents],
    )
    print_columns("suites", [(suite["name"], suite["about"]) for suite in suites])
