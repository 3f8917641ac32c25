"""Small talk: what is said to somebody moves a mood that only shows in what they say."""

from __future__ import annotations

from typing import Any

from seqrl_jax.dialogue.game import Game, anything, checked, speaker
from seqrl_jax.settings import Horizon, Probability
from seqrl_jax.tasks.build import Outcome, build, goes

MOODS = 6
WORDS = ("awful", "fine", "great")
"""What is said in two moods each, from -1 to 1."""
TONES = {"really": 1.0, "well": 0.0, "hardly": -1.0}
MOVES = {
    # The change of mood, from the worst one to the best.
    "joke": (-1, -1, -1, 1, 1, 0),
    "comfort": (1, 1, 0, 0, -1, -1),
    "praise": (0, 1, 1, 1, -1, -2),
    "complain": (0, -1, -1, -1, -1, -1),
}


def small_talk(turns: Horizon = 8, noise: Probability = 0.5) -> Game:
    """A user in one of six hidden moods answers with one of three words and a tone; the sentiment of both is paid.

    Jokes cheer up who is well and hurt who is not, praise goes stale, comfort helps in bad moods. Sentiment: -1, 0 or
    1 of the word; 1 more or less by the tone, which is random with probability `noise` and depends on nothing. So the
    best mean is the same for every `noise`, and only luck grows.

    Picture::

        hardly fine -- comfort -- well fine -- joke -- really great -- ...

    Seed idea: a high return may be luck, and whoever copies lucky dialogues copies nothing.
    """
    states = [(mood, tone) for mood in range(MOODS) for tone in TONES]

    def spread(mood: int) -> dict[tuple[int, str], float]:
        law = {"really": noise / 2, "well": 1 - noise, "hardly": noise / 2}
        return {(mood, tone): p for tone, p in law.items() if p > 0}

    def step(state: Any, said: str) -> dict[Outcome, float]:
        mood = min(max(state[0] + MOVES[said][state[0]], 0), MOODS - 1)
        return {goes(after, after[0] // 2 - 1 + TONES[after[1]]): p for after, p in spread(mood).items()}

    start = {after: p / MOODS for mood in range(MOODS) for after, p in spread(mood).items()}
    task = build(
        name="small_talk",
        states=states,
        actions=list(MOVES),
        observations=[f"{tone}_{word}" for tone in TONES for word in WORDS],
        start=start,
        step=step,
        observe=lambda state: f"{state[1]}_{WORDS[state[0] // 2]}",
        discount=1.0,
        horizon=turns,
    )
    utterances = list(MOVES)
    speakers = (
        # Small talk never ends by itself: its task has no state behind the listed ones.
        speaker(0.25, states, utterances, lambda state, said: float(MOVES[said][state[0]]), ends=False),
        anything(0.75, states, utterances, ends=False),
    )
    return checked(Game(task, speakers))
