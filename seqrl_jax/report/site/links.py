"""Where the pages of a site stand: file names that people can read, distinct on every file system."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from seqrl_jax.report.site.sheet import Sheet

SLUG_LENGTH = 60


def page(folder: str, *names: str) -> str:
    """The address of a page about something of these names: `tasks/pomdp--tmaze--0123abcd.html`.

    The digest keeps apart what the readable part cannot: upper and lower case, escaped and cut names.
    """
    digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:8]
    readable = "--".join(re.sub(r"[^A-Za-z0-9.=]+", "_", name) for name in names)[:SLUG_LENGTH].lstrip(".") or "_"
    return f"{folder}/{readable}--{digest}.html"


def sheet_page(sheet: Sheet) -> str:
    """Of a table."""
    return page("tables", sheet.source, sheet.section.track.name)


def record_page(number: int) -> str:
    """Of a record: one page shows whichever its fragment names."""
    return f"record.html#{number}"


@dataclass(frozen=True)
class Links:
    """The tasks and agents that have a page: (track, name) -> its address, in the order in which they are met."""

    tasks: dict[tuple[str, str], str] = field(default_factory=dict)
    agents: dict[tuple[str, str], str] = field(default_factory=dict)

    @cached_property
    def task_numbers(self) -> dict[tuple[str, str], int]:
        """The place of each task, by which rows name it."""
        return {key: number for number, key in enumerate(self.tasks)}

    @cached_property
    def agent_numbers(self) -> dict[tuple[str, str], int]:
        """The place of each agent, by which rows name it."""
        return {key: number for number, key in enumerate(self.agents)}


def links(made: Sequence[Sheet]) -> Links:
    """To every task and agent of these sheets."""
    found = Links()
    for sheet in made:
        track = sheet.section.track.name
        found.tasks.update({(track, task): page("tasks", track, task) for task in sheet.section.tasks})
        found.agents.update({(track, method): page("agents", track, method) for method in sheet.section.methods})
    return found
