"""The page of a release holds every number that a reviewer asks for."""

import statistics

from records import made_up

from seqrl_jax.release.methods import about, paragraph
from seqrl_jax.results.record import Bound, Spent


def test_the_paragraph_counts_what_the_records_hold(in_sections):
    wide = {**made_up().bounds, "memoryless_stochastic": Bound(0.5, 0.6, "")}
    (section,) = in_sections(
        [
            made_up(spent=Spent(10.0, 3600.0, 0.0), cells=2, versions={"jax": "0.10.2"}),
            made_up(
                method="dqn",
                marked_wrong=True,
                bounds=wide,
                created="2026-02-01T00:00:00+00:00",
                metrics={"return": [0.1, None, 0.3]},
                standard_errors={"return": [0.01, None, 0.03]},
                failures={"1": "diverged"},
                episodes=[100, 100, 400],
                steps_made=200,
                policy="greedy",
            ),
            made_up(task="tiger", steps_made=0),
        ]
    )
    text = paragraph(section)
    for said in (
        "2 methods on 2 tasks, 3 seeds in each of 3 cells (seeds 0 to 2; 9 runs, 1 failed)",
        "A run of the 2 methods that train makes 100 to 200 steps",
        "Theory says of 1 method that it falls short here",
        "greedy in 1 cell and sampled in 2 cells",
        "exact in 2 cells and a mean over 100 to 400 episodes for each seed in 1, with a median standard error of 0.02",
        "5 values are proved, 4 of them exactly and 1 as intervals, the widest 10.0% of what is proved of its task",
        "0.50 hours on 2 CPU cores (compilation 5.0 s, training 30.0 min, evaluation 0.0 s)",
        "jax 0.10.2",
    ):
        assert said in text


def test_one_is_not_counted_as_several(in_sections):
    (section,) = in_sections(
        [made_up(seeds=[0], metrics={"return": [0.2]}, episodes=[1], steps_made=1, bounds={"history": Bound(1, 1, "")})]
    )
    text = paragraph(section)
    for said in (
        "1 method on 1 task, 1 seed in each of 1 cell (seeds 0; 1 run, 0 failed)",
        "A run of the 1 method that trains makes 1 step, ",
        "a mean over 1 episode for each seed in 1",
        "1 value is proved, 1 of them exactly",
    ):
        assert said in text


def test_what_a_record_says_stays_in_its_line_of_the_page(in_sections):
    text = about(in_sections([made_up(device="a\n\n# b", command="c\nd")]))
    assert "on a\\n\\n# b (" in text and "\n    c\\nd\n" in text


def test_the_page_of_recorded_results_names_their_origin(records, written):
    text = (written / "README.md").read_text()
    runs = sum(len(record.seeds) for record in records if record.track == "pomdp")
    errors = [
        error
        for record in records
        if record.track == "pomdp"
        for error in record.standard_errors.get("return", [])
        if error
    ]
    assert f"{runs:,} runs" in text and f"{statistics.median(errors):.2g}" in text
    assert "1,999 resamples" in text
    swept = "drqn:exploration=epsilon and drqn:exploration=ez ship with were chosen by sweeps on the seeds 2000 to 2002"
    others = len({record.method for record in records if record.track == "pomdp"}) - 2
    assert f"{swept}, of which no run here is; those of the other {others} methods were not swept" in text
    assert text.count("were chosen by sweeps") == 1 and text.count("No sweep chose settings") == 1
    for record in records:
        assert record.command in text and record.commit in text and record.device in text
        assert all(f"{name} {version}" in text for name, version in record.versions.items())
