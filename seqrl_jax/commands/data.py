"""`seqrl data`: dialogues of a game's speakers as a file."""

from __future__ import annotations

import argparse

from seqrl_jax.commands.console import print_json
from seqrl_jax.dialogue.files import check_ending, write_log
from seqrl_jax.dialogue.logs import logged
from seqrl_jax.dialogue.registry import make_game


def run(options: argparse.Namespace) -> None:
    """Write the file."""
    check_ending(options.out)
    game = make_game(options.game)
    log = logged(game, options.episodes, options.seed)
    write_log(options.out, options.game, game, log, options.seed)
    mean = float(log.returns(game.task.discount).mean())
    if options.json:
        return print_json({"game": options.game, "out": str(options.out), "dialogues": len(log.length), "return": mean})
    print(f"wrote {options.out}: {len(log.length)} dialogues, mean return {mean:.4g}")
