"""`seqrl list`: what can be run, or what one task or method is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from seqrl_jax import naming
from seqrl_jax.commands.console import print_columns, print_json
from seqrl_jax.report.words import DAGGER
from seqrl_jax.tasks.environments import GYMNAX, named_by_origin, settings_of
from seqrl_jax.tasks.facts import facts
from seqrl_jax.tasks.registry import FILE, make, refuse_other_form
from seqrl_jax.tracks.base import Entry, Suite, Track
from seqrl_jax.tracks.registry import TRACKS
from seqrl_jax.tracks.suites import SUITES


def run(options: argparse.Namespace) -> None:
    """Print every name, or what one of them is."""
    if options.name:
        return _describe(options.name, options.json)
    output = listing(TRACKS, SUITES)
    if options.json:
        return print_json(output)
    for track in TRACKS.values():
        mine = [task for task in output["tasks"] if task["track"] == track.name]
        title = f"{track.name}: {track.about}\ntasks (seqrl list NAME tells more)"
        print_columns(title, [(task["name"], task["about"]) for task in mine])
        agents = [agent for agent in output["agents"] if agent["track"] == track.name]
        wrong = f" ({DAGGER}: wrong on purpose)" if any(agent["marked_wrong"] for agent in agents) else ""
        print_columns(f"agents{wrong}", [(_marked(agent), agent["about"]) for agent in agents])
    print_columns("suites (seqrl run NAME)", [(suite["name"], suite["about"]) for suite in output["suites"]])


def listing(tracks: Mapping[str, Track], suites: Mapping[str, Suite]) -> dict[str, list[dict[str, Any]]]:
    """Everything that can be run by its name.

    {"tasks": [{"name", "track", "about"}], "agents": [{"name", "track", "marked_wrong", "about"}], "suites": [{"name",
    "track", "about"}]}
    """
    return {
        "tasks": [
            {"name": name, "track": track.name, "about": entry.about}
            for track in tracks.values()
            for name, entry in track.tasks.items()
        ],
        "agents": [
            {"name": name, "track": track.name, "marked_wrong": entry.marked_wrong, "about": entry.about}
            for track in tracks.values()
            for name, entry in track.methods.items()
        ],
        "suites": [{"name": suite.name, "track": suite.track, "about": suite.about} for suite in suites.values()],
    }


def _describe(spec: str, as_json: bool) -> None:
    """What a task, an agent or a suite is, of the first track that has it.

    Raises: SpecError with the nearest names, and for settings that it does not have.
    """
    if FILE.fullmatch(spec):
        return _describe_file(spec, as_json)
    name = naming.base(spec)
    entries: dict[str, tuple[Track, Entry]] = {}
    for track in TRACKS.values():
        for key, entry in (*track.tasks.items(), *track.methods.items()):
            entries.setdefault(key, (track, entry))
    if named_by_origin(spec) and name not in entries:
        return _describe_environment(spec, as_json)
    refuse_other_form(name)
    if name in SUITES and name not in entries:
        return _describe_suite(naming.lookup("suite", spec, SUITES), as_json)
    track, entry = naming.lookup("task, agent or suite", name, {**SUITES, **entries})
    if spec != name:
        if not entry.settings:
            raise naming.SpecError(f"{naming.shown(spec)}: {name} has no settings")
        track.check(*(((spec,), ()) if name in track.tasks else ((), (spec,))))
    if as_json:
        settings = [asdict(setting) for setting in entry.settings]
        output = {"name": name, "track": track.name, "about": entry.about, "detail": entry.detail, "settings": settings}
        return print_json(output)
    print(f"{name} ({track.name}): {entry.about}")
    if entry.detail:
        print(f"\n{entry.detail}")
    if entry.settings:
        _print_settings(name, entry.settings)


def _describe_file(spec: str, as_json: bool) -> None:
    """{"name", "track", "about", "facts"}: what of the task that a `.POMDP` file holds."""
    about, consists_of = "a task read from a file", facts(replace(make(spec), name=spec))
    if as_json:
        return print_json({"name": spec, "track": "pomdp", "about": about, "facts": consists_of})
    print_columns(f"{spec} (pomdp): {about}", list(consists_of.items()))


def _describe_environment(spec: str, as_json: bool) -> None:
    """{"name", "track", "about", "settings"}: of an environment of gymnax, or of one's own."""
    name = ":".join(spec.split(":")[:2])
    about = "an environment of gymnax" if naming.base(spec) == GYMNAX else "an environment by the path of its function"
    settings = settings_of(spec)
    if as_json:
        described = [asdict(setting) for setting in settings]
        return print_json({"name": name, "track": "environments", "about": about, "settings": described})
    print(f"{name} (environments): {about}")
    _print_settings(name, settings)


def _print_settings(name: str, settings: Sequence[naming.Setting]) -> None:
    rows = [(setting.key, f"{setting.domain} (default: {setting.default})") for setting in settings]
    print_columns(f"\nsettings ({name}:key=value,...)", rows)


def _describe_suite(suite: Suite, as_json: bool) -> None:
    """{"name", "track", "about", "tasks", "agents", "seeds", "steps", "evaluations"}; no steps: as methods ship."""
    output = asdict(suite)
    output["agents"] = output.pop("methods")
    if as_json:
        return print_json(output)
    print(f"{suite.name} ({suite.track}): {suite.about}")
    rows = [
        ("tasks", ", ".join(suite.tasks)),
        ("agents", ", ".join(suite.methods)),
        ("seeds", str(suite.seeds)),
        ("steps", f"{suite.steps:,}" if suite.steps else "as every agent ships"),
        ("evaluations", str(suite.evaluations)),
    ]
    print_columns(f"\nseqrl run {suite.name}", rows)


def _marked(agent: Mapping[str, Any]) -> str:
    return agent["name"] + (DAGGER if agent["marked_wrong"] else "")
