"""One-step language tasks that are solved exactly: a prompt, a completion, and a gold reward of both.

A completion is the one action of a bandit whose arms are texts (Ouyang et al., 2022, call it the contextual bandit of
RLHF). Prompts are drawn uniformly. Every task has a corpus for supervised training, whose model is the reference
policy pi_0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqrl_jax import naming
from seqrl_jax.lm.sampling import drawn_mask

Gold = Callable[[Array, Array], Array]
"""(prompt [P], tokens [L]) -> reward []. Tokens behind the end are the end again."""
Corpus = Callable[[Array, Array], Array]
"""(key, prompt [P]) -> tokens [L], what the supervised data says behind this prompt."""


@dataclass(frozen=True, eq=False)
class LMTask:
    """A task.

    Attributes:
        vocabulary: how each of the V tokens is written. prompts: [N, P] tokens. length: L.
        end: the token that ends a completion, None where all have L tokens.
        gold: what a completion is worth. corpus: what the supervised data looks like.
        length_bias: what each token more is worth to the labeller, who should not care.
        rewarded: [N, K, L] all completions whose reward is not 0, where they are few and completions too many to list;
            rows of -1 where a prompt has fewer than K. None: completions can be listed.
    """

    name: str
    vocabulary: tuple[str, ...]
    prompts: np.ndarray
    length: int
    end: int | None
    gold: Gold
    corpus: Corpus
    length_bias: float = 0.0
    rewarded: np.ndarray | None = None

    @property
    def size(self) -> int:
        """V."""
        return len(self.vocabulary)

    def draw_prompts(self, key: Array, count: int) -> Array:
        """[count, P] of the task's prompts, each with the same probability."""
        prompts = jnp.asarray(self.prompts, jnp.int32)
        return prompts[jax.random.randint(key, (count,), 0, len(prompts))]

    def rewards(self, prompt: Array, tokens: Array) -> Array:
        """[B] from prompts [B, P] and completions [B, L]."""
        return jax.vmap(self.gold)(prompt, tokens)


def keyword(size: int = 8, length: int = 4) -> LMTask:
    """The prompt picks a target word: two of them are worth a point each, a word said twice in a row costs one."""
    prompts = np.array([(a, b) for a in range(4) for b in range(4)])
    target = lambda prompt: (prompt[0] + 2 * prompt[1]) % size
    return LMTask(
        name="keyword",
        vocabulary=tuple("abcdefgh"[:size]),
        prompts=prompts,
        length=length,
        end=None,
        gold=lambda prompt, tokens: capped(tokens == target(prompt), 2) - repetitions(tokens),
        corpus=lambda key, prompt: babble(key, size, length, prompt[-1], favourite=target(prompt)),
    )


def overopt(word: int = 3, seed: int = 2) -> LMTask:
    """A reward that no simple proxy can follow: a rare word that pays less each time it is said, a price on
    repetition, and likings for certain pairs of words. It has mean 0 and deviation 1 over the corpus."""
    size, length, rarity = 8, 6, 1 / 70
    # The corpus hardly ever says the word twice, so a reward model has to guess what saying it often is worth.
    words = np.full(size, (1 - rarity) / (size - 1))
    words[word] = rarity
    liking = np.random.default_rng(seed).normal(scale=0.12, size=(size, size))

    def raw(tokens: Array) -> Array:
        said = jnp.sum(tokens == word).astype(jnp.float32)
        pairs = jnp.asarray(liking, jnp.float32)[tokens[:-1], tokens[1:]].sum()
        return 3 * (1 - jnp.exp(-2 * said)) - 0.85 * repetitions(tokens) + pairs

    law = reduce(np.multiply.outer, [words] * length).reshape(-1)
    mean, deviation = _moments(raw, law, size, length)
    return LMTask(
        name="overopt",
        vocabulary=tuple("abcdefgh"),
        prompts=np.array([[0]]),
        length=length,
        end=None,
        gold=lambda prompt, tokens: (raw(tokens) - mean) / deviation,
        corpus=lambda key, prompt: jax.random.choice(key, size, (length,), p=jnp.asarray(words, jnp.float32)),
    )


def length_hack(length: int = 5, price: float = 0.2) -> LMTask:
    """`keyword` with a price on every word, and on not ending; the labeller likes long answers."""
    end = 7
    prompts = np.array([[target] for target in range(4)])

    def gold(prompt: Array, tokens: Array) -> Array:
        spoken = drawn_mask(tokens, end) & (tokens != end)
        never = jnp.all(tokens != end).astype(jnp.float32)
        return capped(tokens == prompt[0], 2) - price * spoken.sum().astype(jnp.float32) - never

    def corpus(key: Array, prompt: Array) -> Array:
        babble_key, end_key = jax.random.split(key)
        tokens = babble(babble_key, end, length, prompt[-1], favourite=prompt[0])
        ended = jnp.cumsum(jax.random.bernoulli(end_key, 0.25, (length,))) > 0
        return jnp.where(ended, end, tokens)

    return LMTask(
        name="length_hack",
        vocabulary=(*"abcdefg", "."),
        prompts=prompts,
        length=length,
        end=end,
        gold=gold,
        corpus=corpus,
        length_bias=0.5,
    )


def reversal(size: int = 4, length: int = 4) -> LMTask:
    """Say the prompt backwards: 1 if every token is right, 0 otherwise."""
    prompts = np.stack(np.meshgrid(*[np.arange(size)] * length, indexing="ij"), -1).reshape(-1, length)
    return _verifiable("reversal", tuple("abcdefgh"[:size]), prompts, lambda prompt: prompt[::-1])


def mod_sum(size: int = 8) -> LMTask:
    """Say the sums of the digits so far, modulo 8: 1 if every one is right, 0 otherwise."""
    prompts = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1).reshape(-1, 3)
    return _verifiable("mod_sum", tuple("01234567"[:size]), prompts, lambda prompt: jnp.cumsum(prompt) % size)


def random_walks(seed: int = 10) -> LMTask:
    """Walk from the given node to the goal along the edges of a graph that only walks tell of; the shorter, the better.

    21 nodes, each edge present with probability .1, at most 10 nodes. A walk that reaches the goal is worth 1 if it is
    as short as can be, less in proportion to its steps beyond that, and 0 with one wrong edge or without the goal. The
    task is that of Chen et al. (2021, decision transformer, sec. 2), in the size that RLHF libraries test themselves
    with.
    """
    graph, goal, longest = _graph(seed), 0, 10
    size, length = len(graph), longest - 1
    shortest = _distances(graph, goal)
    prompts = np.array([[node] for node in range(size) if 0 < shortest[node] < longest - 1])
    edges, distance = jnp.asarray(graph), jnp.asarray(np.minimum(shortest, longest), jnp.float32)

    def gold(prompt: Array, tokens: Array) -> Array:
        mask = drawn_mask(tokens, goal)
        walk = jnp.concatenate([prompt, tokens])
        legal = jnp.all(edges[walk[:-1], walk[1:]] | ~mask)
        reached = jnp.any(tokens == goal)
        best = distance[prompt[0]]
        optimality = 1 - (mask.sum().astype(jnp.float32) - best) / (length - best)
        return jnp.where(legal & reached, optimality, 0.0)

    def corpus(key: Array, prompt: Array) -> Array:
        def step(node: Array, key: Array) -> tuple[Array, Array]:
            after = jax.random.categorical(key, jnp.where(edges[node], 0.0, -jnp.inf)).astype(jnp.int32)
            after = jnp.where(node == goal, goal, after)
            return after, after

        return jax.lax.scan(step, prompt[0].astype(jnp.int32), jax.random.split(key, length))[1]

    return LMTask(
        name="random_walks",
        vocabulary=tuple(str(node) for node in range(size)),
        prompts=prompts,
        length=length,
        end=goal,
        gold=gold,
        corpus=corpus,
        rewarded=_walks(graph, goal, prompts[:, 0], length),
    )


TASKS: dict[str, Callable[[], LMTask]] = {
    "keyword": keyword,
    "overopt": overopt,
    "length_hack": length_hack,
    "random_walks": random_walks,
    "reversal": reversal,
    "mod_sum": mod_sum,
}


def capped(hits: Array, most: int) -> Array:
    """How many of hits [L] are true, at most `most`, as a float."""
    return jnp.minimum(hits.sum(), most).astype(jnp.float32)


def repetitions(tokens: Array) -> Array:
    """How often a token equals the one before it, as a float."""
    return jnp.sum(tokens[1:] == tokens[:-1]).astype(jnp.float32)


REPEAT, FAVOUR = 0.15, 0.15
"""Of what babble says: the last token again, or the favourite; otherwise any token."""


def babble(key: Array, size: int, length: int, first: Array, favourite: Array) -> Array:
    """[L] tokens of a Markov chain that begins behind the token `first`."""

    def step(before: Array, key: Array) -> tuple[Array, Array]:
        which, uniform = jax.random.split(key)
        at = jax.random.uniform(which)
        other = jax.random.randint(uniform, (), 0, size)
        token = jnp.where(at < REPEAT, before, jnp.where(at < REPEAT + FAVOUR, favourite, other)).astype(jnp.int32)
        return token, token

    return jax.lax.scan(step, jnp.asarray(first, jnp.int32), jax.random.split(key, length))[1]


def _moments(raw: Callable[[Array], Array], law: np.ndarray, size: int, length: int) -> tuple[float, float]:
    with jax.ensure_compile_time_eval():
        texts = np.stack(np.unravel_index(np.arange(size**length), (size,) * length), -1).astype(np.int32)
        values = np.asarray(jax.jit(jax.vmap(raw))(jnp.asarray(texts)), np.float64)
    mean = law @ values
    return float(mean), float(np.sqrt(law @ np.square(values - mean)))


def _verifiable(
    name: str, vocabulary: tuple[str, ...], prompts: np.ndarray, answer: Callable[[Array], Array]
) -> LMTask:
    """One right answer. The corpus says each of its tokens with probability .4, and otherwise any."""
    length, size = prompts.shape[1], len(vocabulary)

    def corpus(key: Array, prompt: Array) -> Array:
        right_key, other_key = jax.random.split(key)
        right = jax.random.bernoulli(right_key, 0.4, (length,))
        return jnp.where(right, answer(prompt), jax.random.randint(other_key, (length,), 0, size)).astype(jnp.int32)

    return LMTask(
        name=name,
        vocabulary=vocabulary,
        prompts=prompts,
        length=length,
        end=None,
        gold=lambda prompt, tokens: jnp.all(tokens == answer(prompt)).astype(jnp.float32),
        corpus=corpus,
    )


def _graph(seed: int) -> np.ndarray:
    """[21, 21] bool. Every node has an edge, and the goal is a way out of none."""
    rng = np.random.default_rng(seed)
    graph = rng.random((21, 21)) < 0.1
    np.fill_diagonal(graph, False)
    for node in np.flatnonzero(~graph.any(1)):
        graph[node, (node + 1 + rng.integers(20)) % 21] = True
    return graph


def _distances(graph: np.ndarray, goal: int) -> np.ndarray:
    """[nodes]: steps to the goal, infinite where there is no way."""
    distance = np.full(len(graph), np.inf)
    distance[goal] = 0
    for _ in graph:
        distance = np.minimum(distance, 1 + np.where(graph, distance, np.inf).min(1))
    return distance


def _walks(graph: np.ndarray, goal: int, starts: np.ndarray, length: int) -> np.ndarray:
    """[starts, K, length]: every walk to the goal that fits, padded with the goal; rows of -1 behind the last."""

    def onward(walk: list[int]) -> list[list[int]]:
        if walk[-1] == goal:
            return [walk[1:]]
        if len(walk) > length:
            return []
        return [path for node in np.flatnonzero(graph[walk[-1]]) for path in onward([*walk, int(node)])]

    every = [onward([int(start)]) for start in starts]
    out = np.full((len(starts), max(map(len, every)), length), -1, np.int32)
    for index, walks in enumerate(every):
        for row, walk in enumerate(walks):
            # A walk that is as long as can be and ends at the goal has no room for padding.
            out[index, row] = [*walk, *[goal] * (length - len(walk))]
    return out


@cache
def make_task(name: str) -> LMTask:
    """The task of this name. Raises SpecError with the nearest names."""
    return naming.lookup("task", name, TASKS)()


def about(build: Callable[[], LMTask]) -> str:
    """What a task is, in the first paragraph of its docstring."""
    return _paragraphs(build)[0]


def detail(build: Callable[[], LMTask]) -> str:
    """The other paragraphs."""
    return "\n\n".join(_paragraphs(build)[1:])


def _paragraphs(build: Callable[[], LMTask]) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in (build.__doc__ or "").split("\n\n")]
