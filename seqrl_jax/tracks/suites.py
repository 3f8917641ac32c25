"""What is run together: tasks, methods, seeds and a budget."""

from __future__ import annotations

from collections.abc import Sequence

from seqrl_jax import naming
from seqrl_jax.networks.registry import MEMORIES
from seqrl_jax.tracks.base import Suite, Track
from seqrl_jax.tracks.dialogue import DIALOGUE
from seqrl_jax.tracks.environments import ANY
from seqrl_jax.tracks.lm import LM
from seqrl_jax.tracks.pomdp import POMDP
from seqrl_jax.tracks.registry import TRACKS, track

HEADLINE = (
    "tmaze:length=10",
    "repeat_previous",
    "heaven_hell",
    "peek_maze",
    "locked_doors",
    "tiger",
    "flicker_grid",
    "mini_hallway",
)
"""The tasks by which agents with memory are judged."""
AS_PUBLISHED = ("drqn_paper", "r2d2_paper")
"""Agents with the settings of their papers, which replay up to twenty times as many steps as shipped ones."""

KEEPING = tuple(name for name, memory in MEMORIES.items() if memory().reach is None and not memory().has_model)
"""The memories that keep a whole history, and learn no model of the world beside."""
LONG_CHAIN = ("ppo:memory=gru,rollout_length=128", "pqn:memory=gru,learning_rate=0.001")
"""What GRUs lack where they are shown something a hundred steps before it is asked for. Gradients end with a rollout,
and shipped ones of 32 steps teach PPO nothing of what was shown earlier: here they can hold a whole episode of any task
of the suite. PQN, whose shipped rate is slow there, does not need them."""
TWICE_THE_RATE = ("pqn:learning_rate=0.001", "drqn:learning_rate=0.024")
"""Rates are chosen on small tables; on CartPole more seeds come to the end at twice as much."""
UPDATES = 1500
"""The most that a method makes in the tables of logs; see `dialogue_longer` for what is not learned by then."""
WHOLE_TURNS = "ppo_turns"
"""By whole utterances, where a turn is one symbol, it is `ppo_talk`: not run there."""

BREAKOUT = "gymnax:Breakout-MinAtar"

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            name="quick",
            about="every tabular task, every memoryless agent, recurrent PPO and the oracles",
            track=POMDP.name,
            tasks=tuple(POMDP.tasks),
            methods=(*POMDP.oracles, *POMDP.memoryless_agents, "ppo"),
            seeds=10,
            steps=200_000,
        ),
        Suite(
            name="headline",
            about="eight tasks that need memory: recurrent PPO, PQN and DRQN, beside Q-learning without it",
            track=POMDP.name,
            tasks=HEADLINE,
            methods=(*POMDP.oracles, "ppo", "pqn", "drqn", "q_obs", "q_window"),
            seeds=10,
            steps=600_000,
            evaluations=10,
        ),
        Suite(
            name="pomdp",
            about="every tabular task, every agent at its own settings and the oracles",
            track=POMDP.name,
            tasks=(*POMDP.tasks, "tmaze:length=10"),
            methods=tuple(method for method in POMDP.methods if method not in AS_PUBLISHED),
            seeds=10,
            steps=200_000,
            evaluations=10,
        ),
        Suite(
            name="gymnax",
            about="some environments of gymnax, by agents that remember",
            track=ANY.name,
            tasks=(
                "gymnax:CartPole-v1",
                "gymnax:MemoryChain-bsuite:memory_length=30,max_steps_in_episode=64",
                "gymnax:Catch-bsuite",
                BREAKOUT,
            ),
            methods=("ppo", "pqn", "drqn", *TWICE_THE_RATE),
            seeds=5,
            steps=500_000,
            evaluations=10,
        ),
        Suite(
            name="flicker",
            about="a screen that flickers: Q of what is shown, a window of frames, and the history",
            track=ANY.name,
            tasks=(BREAKOUT, f"{BREAKOUT}:flicker=0.5", f"{BREAKOUT}:flicker=0.5,frame_stack=4"),
            methods=("drqn:memory=none", "drqn"),
            seeds=5,
            steps=500_000,
            evaluations=10,
        ),
        Suite(
            name="memory",
            about="tasks that are nothing but memory, by every memory of the whole history; GRU in two settings",
            track=ANY.name,
            tasks=("memory_chain:length=30", "memory_chain:length=100", "repeat_previous_cards", "autoencode_cards"),
            methods=(*(f"{agent}:memory={memory}" for agent in ("ppo", "pqn") for memory in KEEPING), *LONG_CHAIN),
            seeds=5,
            steps=500_000,
            evaluations=10,
        ),
        Suite(
            name="exploration",
            about="single random actions or repeated ones, for learners at their shipped and published settings",
            track=POMDP.name,
            tasks=("locked_doors", "heaven_hell", "tmaze:length=10"),
            methods=tuple(
                f"{learner}:exploration={kind}"
                for learner in ("q_obs", "drqn", "pqn", "r2d2", *AS_PUBLISHED)
                for kind in ("epsilon", "ez")
            ),
            seeds=10,
            steps=200_000,
            evaluations=10,
        ),
        Suite(
            name="lm",
            about="aligning a toy language model: every method on every one-step task",
            track=LM.name,
            tasks=tuple(LM.tasks),
            methods=tuple(LM.methods),
            seeds=5,
            steps=LM.steps_as_shipped,
        ),
        Suite(
            name="offline",
            about="tabular tasks from the logs of one who does not know what it does not see",
            track=DIALOGUE.name,
            tasks=(
                "task:tmaze:length=5,discount=1",
                "task:peek_maze:discount=1",
                "task:tiger:discount=1",
                "task:repeat_previous",
                "task:flicker_grid:discount=1",
                "task:mini_hallway:discount=1",
            ),
            methods=tuple(
                f"{name}:view=utterance"
                for name in ("bc", "filtered_bc", "decision_transformer", "mc_q", "offline_q", "cql", "iql", "awac")
            ),
            seeds=5,
            steps=UPDATES,
            evaluations=10,
        ),
        Suite(
            name="dialogue",
            about="every game, every method that learns from logs or by talking, by utterances and by words",
            track=DIALOGUE.name,
            tasks=tuple(DIALOGUE.tasks),
            methods=(
                *(f"{name}:view=utterance" for name in DIALOGUE.methods if name != WHOLE_TURNS),
                *(f"{name}:view=token" for name in DIALOGUE.methods),
                *(f"ilql:beta={beta},view={view}" for view in ("utterance", "token") for beta in (0, 1, 4, 32)),
                "kl_control:targets=least,view=utterance",
            ),
            seeds=5,
            steps=UPDATES,
            evaluations=10,
        ),
        Suite(
            name="dialogue_longer",
            about="the games of dialogues that take longest to learn, by whole utterances, with ten times the reading",
            track=DIALOGUE.name,
            tasks=("twenty_questions", "wordle", "tool_arithmetic", "task_and_talk"),
            methods=tuple(f"{name}:view=utterance,updates={10 * UPDATES}" for name in ("bc", "cql", "ilql")),
            seeds=5,
            steps=DIALOGUE.steps_as_shipped,
            evaluations=10,
        ),
        Suite(
            name="dialogue_pretrained",
            about="values that begin with what imitated the log, against as many updates of values alone",
            track=DIALOGUE.name,
            tasks=tuple(DIALOGUE.tasks),
            methods=tuple(
                f"{name}:view=utterance,updates={updates},pretraining={2 * UPDATES - updates}"
                for name in ("cql", "ilql")
                for updates in (UPDATES, 2 * UPDATES)
            ),
            seeds=5,
            steps=DIALOGUE.steps_as_shipped,
            evaluations=10,
        ),
    )
}


def suite(name: str) -> Suite:
    """The suite of this name. Raises: SpecError with the nearest names."""
    return naming.lookup("suite", name, SUITES)


def shipped(track: Track) -> frozenset[str]:
    """The tasks of a track that this package names: those of its registry and of its suites."""
    return frozenset(
        [*track.tasks, *(task for suite in SUITES.values() if suite.track == track.name for task in suite.tasks)]
    )


def check(suite: Suite) -> Track:
    """The suite's track; refuses a suite that cannot run, before anything is computed.

    Raises: SpecError for an unknown task or method (with the nearest names), for a repetition, or for fewer than one
    seed; what tasks raise that cannot be built.
    """
    if suite.seeds < 1:
        raise naming.SpecError(f"a run needs at least one seed, not {suite.seeds}")
    _once("task", suite.tasks)
    _once("agent", suite.methods)
    chosen = track(suite.track)
    _refuse_of_other_tracks(chosen, suite.methods)
    chosen.check(suite.tasks, suite.methods)
    return chosen


def _refuse_of_other_tracks(chosen: Track, methods: Sequence[str]) -> None:
    """Raises: SpecError for a method that only other tracks have: of it the nearest names here tell nothing."""
    own = chosen.methods
    for spec in methods:
        name = naming.base(spec)
        if name not in own and (places := [other.name for other in TRACKS.values() if name in other.methods]):
            of = f"{naming.shown(spec)} is of {' and '.join(places)}"
            raise naming.SpecError(f"{of}, these tasks are of {chosen.name} (seqrl list)")


def _once(kind: str, specs: Sequence[str]) -> None:
    for spec in specs:
        if specs.count(spec) > 1:
            raise naming.SpecError(f"{kind} {spec!r} stands twice")
