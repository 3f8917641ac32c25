"""Which methods are best on a task, where that is more than luck."""

from __future__ import annotations

from seqrl_jax.report.compare import compare
from seqrl_jax.report.sections import Section

Cell = tuple[str, str]
"""(task, method)."""


def best(section: Section) -> frozenset[Cell]:
    """The trained method with the best mean score on each task, if it is better than every other trained one: the 95%
    interval of each paired difference lies on its side of 0. On a task without such a method there is none, and none
    where a seed failed that no scale of the task says how to count."""
    score = section.track.columns[0]
    sign = -1 if score.better == "lower" else 1
    marked = set()
    for task, records in section.tasks.items():
        trained = {record.method: record for record in records if record.steps_made and record.finished(score.metric)}
        if len(trained) < 2:
            continue
        mean = lambda record: sign * sum(record.finished(score.metric)) / len(record.finished(score.metric))
        first = max(trained.values(), key=mean)
        against = [(other, first) for other in trained.values() if other is not first]
        failed = any(record.failed for record in trained.values())
        differences = [row.scaled or (None if failed else row.difference) for row in compare(section, against)]
        ends = [None if found is None else found.low if sign > 0 else found.high for found in differences]
        if all(end is not None and sign * end > 0 for end in ends):
            marked.add((task, first.method))
    return frozenset(marked)
