import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.lm.exact import completions
from seqrl_jax.lm.sampling import drawn_mask
from seqrl_jax.lm.tasks import TASKS, babble, make_task
from seqrl_jax.naming import SpecError


def gold(name, prompt, *texts):
    worth = jax.jit(make_task(name).gold)
    return [float(worth(np.array(prompt), np.array(text))) for text in texts]


def test_keyword_counts_its_target_up_to_two_and_dislikes_repetition():
    """Prompt (1, 3): the target is word 7."""
    texts = [7, 0, 7, 1], [7, 0, 1, 2], [7, 7, 0, 1], [7, 7, 7, 7], [0, 1, 2, 3], [7, 0, 7, 0]
    assert gold("keyword", [1, 3], *texts) == [2, 1, 1, -1, 0, 2]


def test_length_hack_charges_words_and_a_missing_end():
    assert gold("length_hack", [2], [2, 0, 2, 7, 7], [2, 7, 7, 7, 7], [7] * 5, [2, 0, 2, 0, 1]) == pytest.approx(
        [2 - 0.6, 1 - 0.2, 0, 2 - 1 - 1]
    )


def test_verifiable_answers_are_all_or_nothing():
    assert gold("reversal", [0, 1, 2, 3], [3, 2, 1, 0], [3, 2, 1, 1]) == [1, 0]
    assert gold("mod_sum", [3, 7, 7], [3, 2, 1], [3, 2, 2]) == [1, 0]
    for name in ("reversal", "mod_sum"):
        task = make_task(name)
        texts, worth = completions(task.size, task.length, task.end), jax.jit(jax.vmap(task.gold, (None, 0)))
        for prompt in task.prompts[::37]:
            assert float(np.sum(worth(prompt, texts))) == 1


def test_overopt_is_standard_under_its_corpus():
    """Word 3 is said once in seventy, the others alike."""
    task = make_task("overopt")
    texts = completions(8, 6, None)
    law = np.where(np.asarray(texts) == 3, 1 / 70, 69 / 490).prod(1)
    worth = jax.jit(jax.vmap(lambda text: task.gold(jnp.array([0]), text)))
    reward = np.asarray(worth(texts), np.float64)
    assert law.sum() == pytest.approx(1)
    assert law @ reward == pytest.approx(0, abs=1e-5)
    assert law @ np.square(reward) == pytest.approx(1, abs=1e-5)


def test_overopt_s_corpus_has_its_law():
    """Frequencies of the words within 5 standard errors (48 places and words: false alarms 3e-5)."""
    draws = 20_000
    task = make_task("overopt")
    speak = jax.jit(jax.vmap(lambda key: task.corpus(key, jnp.array([0]))))
    tokens = speak(jax.random.split(jax.random.key(0), draws))
    law = np.where(np.arange(8) == 3, 1 / 70, 69 / 490)
    seen = (np.asarray(tokens)[:, :, None] == np.arange(8)).mean(0)
    assert (np.abs(seen - law) <= 5 * np.sqrt(law * (1 - law) / draws)).all()


def test_overopt_pays_a_rare_word_once_and_dislikes_repetition():
    """The margins are beyond what the likings of pairs can do."""
    texts = [6, 0, 1, 2, 4, 5], [3, 0, 1, 2, 4, 5], [3, 0, 3, 1, 2, 4], [3, 3, 0, 1, 2, 4], [3] * 6
    never, once, twice, in_a_row, always = gold("overopt", [0], *texts)
    assert once > never + 2
    assert abs(twice - once) < 0.5
    assert in_a_row < twice - 0.5
    assert always < never - 2


def test_babble_has_its_law():
    """Frequencies of all texts of three words within 5 standard errors (64 texts: false alarms 4e-5).

    It says the last word again with probability .15, the favourite with .15, and otherwise any of the four.
    """
    draws = 40_000
    speak = jax.jit(jax.vmap(lambda key: babble(key, 4, 3, 1, jnp.int32(2))))
    tokens = speak(jax.random.split(jax.random.key(0), draws))
    step = np.full((4, 4), 0.7 / 4) + 0.15 * np.eye(4)
    step[:, 2] += 0.15
    law = np.einsum("a,ab,bc->abc", step[1], step, step).reshape(-1)
    seen = np.bincount(np.asarray(tokens) @ np.array([16, 4, 1]), minlength=64) / draws
    assert (np.abs(seen - law) <= 5 * np.sqrt(law * (1 - law) / draws)).all()


@pytest.fixture(scope="module")
def walks():
    return make_task("random_walks")


def test_every_rewarded_walk_is_listed_once(walks):
    """By an independent count: powers of the adjacency matrix with the goal absorbing."""
    rewarded = walks.rewarded
    of_all = jax.jit(jax.vmap(jax.vmap(walks.gold, (None, 0))))(jnp.asarray(walks.prompts), jnp.maximum(rewarded, 0))
    graph = np.zeros((21, 21), int)
    spoken = np.asarray(drawn_mask(rewarded, 0))
    for prompt, texts, values, masks in zip(walks.prompts, rewarded, np.asarray(of_all), spoken, strict=True):
        listed = texts[:, 0] >= 0
        texts, values, masks = texts[listed], values[listed], masks[listed]
        assert len(np.unique(texts, axis=0)) == len(texts)
        # The slowest walk that still arrives is worth nothing more than one that does not.
        assert (values >= 0).all() and values.max() == 1
        for text, mask in zip(texts, masks, strict=True):
            for a, b in zip([prompt[0], *text], text[mask], strict=False):
                graph[a, b] = 1
    graph[0] = 0
    arriving, at = 0, np.eye(21, dtype=int)[walks.prompts[:, 0]]
    for _ in range(walks.length):
        at = at @ graph
        arriving = arriving + at[:, 0]
        at[:, 0] = 0
    np.testing.assert_array_equal((rewarded[:, :, 0] >= 0).sum(1), arriving)


def test_only_listed_walks_are_rewarded(walks):
    """Walks of the corpus, and walks with one wrong step."""
    prompt = jnp.asarray(np.repeat(walks.prompts, 50, 0), jnp.int32)
    tokens = jax.jit(jax.vmap(walks.corpus))(jax.random.split(jax.random.key(0), len(prompt)), prompt)
    listed = {(int(p[0]), *map(int, text)) for p, texts in zip(walks.prompts, walks.rewarded) for text in texts}
    rewards = jax.jit(walks.rewards)
    reward = np.asarray(rewards(prompt, tokens))
    assert (reward > 0).mean() > 0.1
    for p, text, value in zip(np.asarray(prompt), np.asarray(tokens), reward, strict=True):
        if value > 0:
            assert (int(p[0]), *map(int, text)) in listed
    wrong = tokens.at[:, 1].set((tokens[:, 1] + 7) % 21)
    masks = np.asarray(drawn_mask(wrong, 0))
    for p, text, mask, value in zip(np.asarray(prompt), np.asarray(wrong), masks, np.asarray(rewards(prompt, wrong))):
        if value > 0:
            assert (int(p[0]), *map(int, np.where(mask, text, 0))) in listed


@pytest.mark.parametrize("name", TASKS)
def test_corpora_speak_the_task_s_language(name):
    task = make_task(name)
    prompt = jnp.asarray(np.repeat(task.prompts, 4, 0), jnp.int32)
    tokens = jax.jit(jax.vmap(task.corpus))(jax.random.split(jax.random.key(0), len(prompt)), prompt)
    assert tokens.shape == (len(prompt), task.length) and tokens.dtype == jnp.int32
    assert ((np.asarray(tokens) >= 0) & (np.asarray(tokens) < task.size)).all()
    mask = np.asarray(drawn_mask(tokens, task.end))
    assert (np.asarray(tokens)[~mask] == task.end).all()
    assert np.isfinite(jax.jit(task.rewards)(prompt, tokens)).all()


def test_an_unknown_task_is_refused_with_the_nearest():
    with pytest.raises(SpecError, match="did you mean keyword"):
        make_task("keywords")
