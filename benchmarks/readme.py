"""Fill the tables of the README and of docs/ from recorded results and exact values.

--check only says whether they are up to date.

python benchmarks/readme.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping

from pages.alignment import alignment_table, estimators_table, overoptimisation_tables
from pages.capacity import capacity, sharding, stack_memory
from pages.dialogue import (
    dialogue_facts,
    dialogue_table,
    game_audit_table,
    language_facts,
    language_table,
    longer_table,
    luck_table,
    offline_table,
    overvalued_table,
    pretrained_table,
    whole_returns_table,
)
from pages.exact import finite_table, infinite_table
from pages.memory import (
    bistable_table,
    far_table,
    flicker_table,
    gymnax_table,
    horizon_table,
    lengths_table,
    rates_table,
    suite_table,
)
from pages.peers import (
    memax_table,
    memorax_table,
    pobax_table,
    popgym_arcade_table,
    popgymnax_table,
    popjaxrl_table,
    stepping,
)
from pages.pomdp import line_picture, line_values, tiger_beliefs, tiger_picture
from pages.results import (
    audit_table,
    claims_table,
    headline_picture,
    headline_table,
    latent_table,
    quick_table,
    reads_table,
    releases_table,
    solved_line,
)
from pages.speed import agents_speed, goals, highlights, language_speed, measurements, profiles, stepping_speed
from recorded import ROOT

from seqrl_jax.files import write_whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    stale = []
    for name, tables in PAGES.items():
        path = ROOT / name
        old = path.read_text(encoding="utf-8")
        text = filled(old, {mark: table() for mark, table in tables.items()})
        if text != old and options.check:
            stale.append(name)
        elif text != old:
            write_whole(path, text.encode())
    if not options.check:
        for name, picture in PICTURES.items():
            write_whole(ROOT / name, picture())
    if stale:
        sys.exit(f"{', '.join(stale)}: not what is recorded, run benchmarks/readme.py")


def filled(text: str, contents: Mapping[str, str]) -> str:
    """The text with these contents between the marks of their names and of an end."""
    for name, content in contents.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        text = f"{before}{mark}{content}\n{end}{after}"
    return text


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"solved": solved_line, "headline table": headline_table, "speed": highlights},
    "docs/results.md": {
        "quick table": quick_table,
        "reads": reads_table,
        "claims": claims_table,
        "audit": audit_table,
        "latent": latent_table,
    },
    "docs/release.md": {"releases": releases_table},
    "docs/dialogue.md": {
        "dialogue": dialogue_table,
        "dialogue facts": dialogue_facts,
        "dialogue longer": longer_table,
        "dialogue pretrained": pretrained_table,
        "whole returns": whole_returns_table,
        "offline": offline_table,
        "luck": luck_table,
        "game audit": game_audit_table,
        "overvalued": overvalued_table,
        "languages": language_table,
        "language facts": language_facts,
    },
    "docs/memory.md": {
        "horizon": horizon_table,
        "rates": rates_table,
        "bistable": bistable_table,
        "far": far_table,
        "lengths": lengths_table,
        "suite": suite_table,
        "gymnax": gymnax_table,
        "flicker": flicker_table,
    },
    "docs/alignment.md": {
        "alignment": alignment_table,
        "overoptimisation": overoptimisation_tables,
        "estimators": estimators_table,
    },
    "docs/exact.md": {"finite": finite_table, "infinite": infinite_table},
    "docs/peers.md": {
        "popjaxrl": popjaxrl_table,
        "popgymnax": popgymnax_table,
        "popgym arcade": popgym_arcade_table,
        "pobax": pobax_table,
        "memorax": memorax_table,
        "memax": memax_table,
        "speed": stepping,
    },
    "docs/what_is_a_pomdp.md": {
        "line": line_picture,
        "line values": line_values,
        "tiger": tiger_picture,
        "tiger beliefs": tiger_beliefs,
    },
    "docs/capacity.md": {"capacity": capacity, "sharding": sharding, "stack": stack_memory},
    "docs/speed.md": {
        "steps": stepping_speed,
        "training": agents_speed,
        "language": language_speed,
        "goals": goals,
        "profiles": profiles,
        "measurements": measurements,
    },
}


PICTURES: dict[str, Callable[[], bytes]] = {"docs/headline.png": headline_picture}
"""Not compared by --check: other versions of the library that draws them make other bytes."""


if __name__ == "__main__":
    main()
