"""The tracks that there are, on records that hold less than theirs do: whoever edits a file may leave anything out."""

import pytest

from seqrl_jax.report.console import render
from seqrl_jax.report.sections import sections
from seqrl_jax.report.site import sheets, write_site
from seqrl_jax.results.record import Bound
from seqrl_jax.tracks.registry import TRACKS


@pytest.mark.parametrize("name", TRACKS)
@pytest.mark.parametrize("kind", ["score alone", "failed", "bounds", "metrics"])
def test_whatever_a_valid_record_leaves_out_is_told(tmp_path, record, name, kind):
    track = TRACKS[name]
    score, *others = [column.metric for column in track.columns]
    failed = kind == "failed"
    metrics = {score: [None] * 3 if failed else [0.1, 0.2, 0.3]}
    metrics |= {other: [0.1, None, 0.3] for other in others if kind == "metrics"}
    bounds = {bound: Bound(0.0, 1.0, "by hand") for bound in track.bounds if kind == "bounds"}
    made = record(
        track=name,
        task=next(iter(track.tasks)),
        method=next(iter(track.methods)),
        metrics=metrics,
        bounds=bounds,
        bounded_by=[],
        curves={},
        failures={str(seed): "diverged" for seed in range(3)} if failed else {},
    )
    found, skipped = sections([made], TRACKS)
    assert skipped == [] and made.method in render(found, 80)
    write_site(sheets([("made", found)]), tmp_path / "site")
    (page,) = (tmp_path / "site" / "tasks").iterdir()
    assert f"<h1>{made.task}" in page.read_text().replace("<wbr>", "")
