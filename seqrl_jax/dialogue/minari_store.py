"""Logs as datasets of Minari: an utterance is an action, a reply an observation, both by number.

An episode has one observation more than a dialogue has replies: behind the last turn stands the number of none. The
game, its words and the seed stand in the dataset's metadata, and its reference scores are the exact values of those who
spoke and of the best policy. Probabilities of utterances are infos, NaN where they are unknown; those of words follow
from the game.

Of a dataset that names no game (`minari.DataCollector` around `gymnasium.make("seqrl/tmaze-v0")` makes one), numbers
are those of the game that it is read for; what is seen behind the last turn is left out.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seqrl_jax.dialogue.exact import Known, TooLarge
from seqrl_jax.dialogue.game import Game
from seqrl_jax.dialogue.logs import Log
from seqrl_jax.dialogue.registry import TASK, make_game
from seqrl_jax.tasks.tabular import fingerprint

GAME, SEED, SAID, REPLIED, PROBABILITY = "game", "seed", "utterances", "replies", "probability"


def write_minari(dataset_id: str, spec: str, game: Game, log: Log, seed: int) -> None:
    """Write a log as a new dataset, whole or not at all. Raises: as `free_place`."""
    minari, spaces, buffer = _minari()
    place = free_place(dataset_id)
    none = game.task.num_observations

    def episode(row: int, length: int) -> Any:
        last = np.arange(length) == length - 1
        said = log.utterance[row, :length]
        chance = log.probability[row, np.arange(length), said]
        return buffer(
            id=row,
            seed=seed,
            observations=[*map(int, log.reply[row, :length]), none],
            actions=list(map(int, said)),
            rewards=list(map(float, log.reward[row, :length])),
            terminations=list(map(bool, last & log.terminated[row])),
            truncations=list(map(bool, last & ~log.terminated[row])),
            infos={PROBABILITY: [*map(float, np.where(chance > 0, chance, np.nan)), np.nan]},
        )

    names = {SAID: list(game.task.actions), REPLIED: list(game.task.observations)}
    try:
        with warnings.catch_warnings():
            # It asks for authors and an environment of gymnasium's, and there are none.
            warnings.simplefilter("ignore", UserWarning)
            dataset = minari.create_dataset_from_buffers(
                dataset_id,
                [episode(row, int(length)) for row, length in enumerate(log.length)],
                action_space=spaces.Discrete(game.task.num_actions),
                observation_space=spaces.Discrete(none + 1),
                description=f"{spec}: dialogues of its speakers",
                data_format="arrow",
            )
        dataset.storage.update_metadata({GAME: spec, SEED: seed, **names, **_scores(game)})
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def free_place(dataset_id: str) -> Path:
    """Where a new dataset of this name will stand. Raises: ValueError for a name that is none or is taken;
    ImportError."""
    _minari()
    place = _place(dataset_id)
    if place.exists():
        raise ValueError("there is such a dataset already")
    return place


def read_minari(dataset_id: str, game: Game) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbers of episodes, and what `files.Dialogue` holds of each.

    Args: game: whose numbers they are where the dataset names none.
    Raises: ValueError for a dataset that is not there, whose spaces or whose environment are not the game's, whose
        metadata is damaged, or of which an episode goes on behind its end; ImportError.
    """
    minari, *_ = _minari()
    if not (place := _place(dataset_id)).exists():
        raise ValueError(f"there is no such dataset in {place.parent}")
    try:
        dataset = minari.load_dataset(dataset_id)
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(str(error).strip().partition("\n")[0]) from None
    about = dataset.storage.metadata
    if GAME not in about:
        about = _numbered(dataset, game)
    if missing := [name for name in (SAID, REPLIED) if name not in about]:
        raise ValueError(f"its metadata says nothing of {missing[0]!r}")
    said, replied = (_words(about, key) for key in (SAID, REPLIED))
    for episode in dataset.iterate_episodes():
        if (early := np.flatnonzero(episode.terminations[:-1] | episode.truncations[:-1])).size:
            raise ValueError(f"episode {episode.id}: ends at step {early[0]}, and goes on")
        replies = _named(episode.id, "observation", episode.observations[:-1], replied)
        turns = [
            {"said": word, "reward": float(reward)}
            for word, reward in zip(_named(episode.id, "action", episode.actions, said), episode.rewards, strict=True)
        ]
        for turn, reply in zip(turns, replies[1:], strict=False):
            turn["reply"] = reply
        for turn, chance in zip(turns, _chances(episode.id, episode.infos.get(PROBABILITY, ())), strict=False):
            if not np.isnan(chance):
                turn[PROBABILITY] = float(chance)
        yield (
            int(episode.id),
            {
                GAME: about[GAME],
                "opening": replies[0] if replies else "",
                "turns": turns,
                "terminated": bool(episode.terminations[-1:].any()),
                "truncated": bool(episode.truncations[-1:].any()),
            },
        )


def _numbered(dataset: Any, game: Game) -> dict[str, Any]:
    """What the metadata of a dataset that names no game would say. Raises: ValueError, where its spaces are others, or
    its environment is one of the suite that is another."""
    # Its import registers every environment of the suite with gymnasium.
    from seqrl_jax.tasks.gymnasium_adapter import NAMESPACE, spec_of

    task = game.task
    sizes = (
        ("action", dataset.action_space, task.num_actions),
        ("observation", dataset.observation_space, task.num_observations),
    )
    for what, space, size in sizes:
        if space != (expected := _minari()[1].Discrete(size)):
            raise ValueError(f"it names no game, and its {what} space is {space}: that of {task.name} is {expected}")
    of = dataset.env_spec
    if of is not None and of.namespace == NAMESPACE:
        theirs = make_game(f"{TASK}:{spec_of(of.kwargs)}").task
        if fingerprint(replace(theirs, discount=task.discount)) != fingerprint(task):
            raise ValueError(f"it was collected in {of.id} with other settings than {task.name} has")
    return {GAME: None, SAID: list(task.actions), REPLIED: list(task.observations)}


def _place(dataset_id: str) -> Path:
    """Where a dataset of this name stands or would stand. Raises: ValueError for a name that is none."""
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage import get_dataset_path

    try:
        # A name without a version raises a TypeError there.
        parse_dataset_id(dataset_id)
    except (ValueError, TypeError):
        raise ValueError("a dataset is named [NAMESPACE/]NAME-vNUMBER") from None
    return Path(get_dataset_path(dataset_id))


def _scores(game: Game) -> dict[str, float]:
    """Reference scores, of a game whose returns have no discount and whose values can be computed."""
    known = Known(game)
    if game.task.discount != 1:
        return {}
    try:
        return {"ref_min_score": known.value(known.logged), "ref_max_score": known.value(known.best)}
    except TooLarge:
        return {}


def _minari() -> tuple[Any, Any, Any]:
    try:
        import minari
        from gymnasium import spaces
        from minari.data_collector import EpisodeBuffer
    except ModuleNotFoundError as error:
        raise ImportError(f'{error}; for Minari: pip install "seqrl_jax[minari]"') from error
    return minari, spaces, EpisodeBuffer


def _words(about: Mapping[str, Any], key: str) -> list[str]:
    names = about[key]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{key!r} of its metadata is no list of words")
    return [name.replace("_", " ") for name in names]


def _chances(episode: int, infos: Any) -> np.ndarray:
    """[turns], NaN where none is known."""
    chances = np.asarray(infos)
    if chances.ndim != 1 or chances.dtype.kind not in "iuf":
        raise ValueError(f"episode {episode}: {PROBABILITY!r} of its infos is no list of numbers")
    return chances


def _named(episode: int, what: str, numbers: Any, names: Sequence[str]) -> list[str]:
    """What numbers stand for."""
    numbers = np.asarray(numbers)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise ValueError(f"episode {episode}: an {what} is no whole number")
    if strange := [number for number in numbers.tolist() if not 0 <= number < len(names)]:
        raise ValueError(f"episode {episode}: {what} {strange[0]} is none of the {len(names)} that it names")
    return [names[number] for number in numbers]
