"""Every dialogue of one who says anything, as often as it is had, in games whose users leave nothing to chance."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from dialogue.test_offline import listed

from seqrl_jax.dialogue.conversation import Spoken
from seqrl_jax.dialogue.exact import Known, action_values, evaluated
from seqrl_jax.dialogue.logs import Log, spelled
from seqrl_jax.dialogue.views import Spelling


def spoken_by_anyone(known: Known, spelling: Spelling) -> tuple[Spoken, Log]:
    """The dialogues [B, T], each symbol with log-probability 0, and as a log."""
    log = listed(known.game)
    said = spelled(log, spelling)
    zeros = np.zeros(said.own.shape, np.float32)
    made = Spoken(said.symbol, said.own, said.node, said.reward, zeros, zeros, said.turn, said.valid)
    return jax.device_put(made), log


def nodes_of(known: Known, log: Log) -> np.ndarray:
    """[H, N]: the node of the belief at each turn of a log's dialogues, -1 behind their ends."""
    graph, num_a = known.beliefs.graph, known.game.task.num_actions
    nodes = np.full((known.horizon, len(log.length)), -1)
    for number, (said, reply, length) in enumerate(zip(log.utterance, log.reply, log.length, strict=True)):
        (node,) = (node for node in np.flatnonzero(graph.start) if graph.label[node] == reply[0])
        for turn in range(int(length)):
            nodes[turn, number] = node
            after = graph.transition[[node * num_a + said[turn]]].indices
            node = next((other for other in after if graph.label[other] == reply[turn + 1]), -1)
    return nodes


def values_of(known: Known, log: Log, law: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[H, N] twice: Q and V of one who speaks by a law [H, nodes, A], at the turns of a log's dialogues; 0 behind their
    ends."""
    graph, nodes = known.beliefs.graph, nodes_of(known, log)
    plan = evaluated(graph, law)
    q, v = np.zeros(nodes.shape), np.zeros(nodes.shape)
    for k, b in zip(*np.nonzero(nodes >= 0), strict=True):
        q[k, b] = action_values(graph, plan.values[k + 1])[nodes[k, b], log.utterance[b, k]]
        v[k, b] = plan.values[k][nodes[k, b]]
    return q, v


class Histories:
    """Numbers of what was said before symbols 1 ... T - 1 of dialogues, equal where it is."""

    def __init__(self) -> None:
        self.number: dict[bytes, int] = {}

    def __call__(self, symbols: jax.Array) -> np.ndarray:
        """[T - 1, B] of [T, B]."""
        rows = np.asarray(symbols).T
        before = [[row[:t].tobytes() for row in rows] for t in range(1, rows.shape[1])]
        return np.array([[self.number.setdefault(key, len(self.number)) for key in row] for row in before])


def learned_tables(loss, histories: Histories, num_symbols: int, steps: int = 1500):
    """What a critic says along symbols that is a table over histories, at the end of many steps down loss(critic,
    target), where it is its own target network. The histories have been numbered."""
    draw = lambda size: jnp.asarray(0.1 * np.random.default_rng(1).normal(size=(len(histories.number), size)))
    tables = {"q": draw(num_symbols), "v": draw(1)}
    judging = lambda tables: lambda symbols: {name: table[histories(symbols)] for name, table in tables.items()}
    optimiser = optax.adam(optax.linear_schedule(0.03, 3e-4, steps))

    def step(carry, _):
        tables, state = carry
        gradient = jax.grad(lambda now: loss(judging(now), judging(tables)))(tables)
        change, state = optimiser.update(gradient, state)
        return (optax.apply_updates(tables, change), state), None

    run = jax.jit(lambda tables: jax.lax.scan(step, (tables, optimiser.init(tables)), length=steps)[0][0])
    return judging(run(tables))
