import dataclasses
import json
import math
import re
import signal
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqrl_jax.checkpoint import load_tree, read_metadata
from seqrl_jax.commands.align import in_lines
from seqrl_jax.failures import Interrupted
from seqrl_jax.lm.base import token_log_probs
from seqrl_jax.lm.sampling import Completions
from seqrl_jax.networks.gpt import GPT
from seqrl_jax.runs.interrupt import Interrupt
from seqrl_jax.text import training
from seqrl_jax.text.corpus import scan
from seqrl_jax.text.encoding import prompt_batch, token_batch
from seqrl_jax.text.examples import DataError
from seqrl_jax.text.losses import losses_of
from seqrl_jax.text.page import write_text_page
from seqrl_jax.text.policy import LearnedReward
from seqrl_jax.text.prepared import prepare, remarks
from seqrl_jax.text.report import as_good_as_pairs, read_report
from seqrl_jax.text.run import run_text
from seqrl_jax.text.settings import Files, ModelSettings, TextRun, TrainingError
from seqrl_jax.text.training import CHECKPOINT
from seqrl_jax.text.vocabulary import Bytes
from seqrl_jax.text.weights import load_gpt, save_gpt

END = Bytes().end
LOSSES = jax.jit(losses_of, static_argnames=("method", "beta", "model", "end"))
MODEL = GPT(257, context=32, width=16, layers=1, heads=2)
SIZES = ModelSettings(width=16, layers=1, heads=2)
RUN = TextRun(steps=6, batch=4, check_every=2, learning_rate=0.01, context=32, held_out=0.2)
LONG = dataclasses.replace(RUN, check_every=100)
"""Few checkpoints: each waits for the disk."""


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """60 pairs in which the answer with an `a` is chosen, shorter or longer."""
    rng = np.random.default_rng(0)
    pairs = [
        {"prompt": f"say {n} ", "chosen": "a" * rng.integers(1, 6), "rejected": "b" * rng.integers(1, 6)}
        for n in range(60)
    ]
    return Files(write(tmp_path_factory.mktemp("data") / "pairs.jsonl", pairs))


@pytest.fixture(scope="module")
def taught(data, tmp_path_factory):
    """A short supervised run."""
    out = tmp_path_factory.mktemp("sft")
    return out, run_text(dataclasses.replace(LONG, steps=40), data, out, SIZES)


def test_supervised_training_lowers_the_loss_and_keeps_what_it_learned(taught):
    out, report = taught
    # A byte among 257 costs log 257 = 5.5 nats before anything is learned.
    assert report.loss["mean"] < 3.5 and report.per_byte == report.loss
    assert 0 < report.bigram["mean"] < report.unigram["mean"] < 5.5
    assert report.accuracy is None and report.held_out == report.judged < report.examples == report.prompts == 60
    model, weights = load_gpt(out)
    assert model == MODEL
    written = json.loads((out / "report.json").read_text())
    assert written["loss"] == report.loss and written["device"] and "command" in written
    assert len(report.samples_after) == 3 and report.samples_after[0]["prompt"].startswith("say ")
    assert report.samples_after != report.samples_before
    assert np.isfinite(np.asarray(weights["params"]["wte"]["embedding"])).all()
    assert [point["step"] for point in report.curve] == list(range(1, 41))
    assert report.curve[-1]["loss"] < report.curve[0]["loss"]


@pytest.mark.parametrize("method", ["rm", "dpo", "ipo", "kto"])
def test_preferences_are_learned_and_reported_beside_both_baselines(method, taught, data, tmp_path):
    """The rule is plain, so that 60 steps prefer it on all pairs held out; so does counting bytes."""
    files = data if method == "rm" else data._replace(start=taught[0])
    report = run_text(dataclasses.replace(LONG, method=method, steps=60), files, tmp_path, SIZES)
    assert report.accuracy["mean"] == 1 and report.bytes["mean"] == 1
    # Wilson's interval of all of n is not a point.
    assert report.accuracy["high"] == 1 and 0.6 < report.accuracy["low"] < 1
    assert report.longer["low"] <= report.longer["mean"] <= report.longer["high"]
    expected = {"ipo": 25.0, "kto": 0.5}.get(method, math.log(2))
    assert report.indifferent == pytest.approx(expected) and report.loss["mean"] < expected
    undecided = f"is better than counting bytes is not decided by {report.judged} prompts"
    assert undecided in report.verdict
    assert ("optimising it is not advised" in report.verdict) == (method == "rm")
    assert (tmp_path / "head.safetensors").exists() == (method == "rm") == (not report.samples_after)


def test_labels_of_single_answers_are_learned(taught, tmp_path):
    """Three good answers to a bad one, which count as much together."""
    answer = lambda n: {"prompt": f"say {n} ", "completion": "b" if n % 4 == 0 else "a", "label": n % 4 != 0}
    files = Files(write(tmp_path / "labels.jsonl", map(answer, range(60))), start=taught[0])
    report = run_text(dataclasses.replace(LONG, method="kto", steps=60), files, tmp_path / "kto")
    assert report.accuracy["mean"] == 1 and report.bytes["mean"] == 1


def test_random_labels_cannot_be_told(tmp_path):
    """40 pairs written five times, each time with a label of its own: memory helps nobody on prompts held out."""
    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(list("abcdefgh"), 5)) for _ in range(120)]
    pairs = []
    for n in range(40):
        for _ in range(5):
            chosen, rejected = rng.permutation(words[3 * n + 1 : 3 * n + 3]).tolist()
            pairs.append({"prompt": words[3 * n], "chosen": chosen, "rejected": rejected})
    files = Files(write(tmp_path / "pairs.jsonl", pairs))
    run = dataclasses.replace(LONG, method="rm", steps=60, batch=8)
    told = []
    report = run_text(run, files, tmp_path / "rm", SIZES, tell=told.append)
    assert report.prompts == 40 and report.held_out % 5 == 0 and report.duplicates == 200 - len(set(map(str, pairs)))
    assert f"{report.duplicates} of 200 examples stand there before" in told[0]
    for accuracy in (report.accuracy, report.longer, report.bytes):
        assert accuracy["low"] < 0.5 < accuracy["high"]
    assert "optimising it is not advised" in report.verdict


@pytest.fixture(scope="module")
def judge(data, taught, tmp_path_factory):
    """A reward model that likes `a`."""
    out = tmp_path_factory.mktemp("rm")
    run_text(dataclasses.replace(LONG, method="rm", steps=100), data._replace(start=taught[0]), out)
    return out


ALIGN = dataclasses.replace(LONG, batch=32, group=8, answer=6, steps=60, learning_rate=0.003)
"""At RUN's learning rate one seed in four of `ppo` runs away from pi_0 and ends below it."""


@pytest.fixture(scope="module")
def prompts(taught, judge, tmp_path_factory):
    """20 prompts that are learned from, 180 that judge."""
    folder, prompt = tmp_path_factory.mktemp("prompts"), lambda n: {"prompt": f"say {n} "}
    data, test = folder / "prompts.jsonl", folder / "test.jsonl"
    return Files(write(data, map(prompt, range(20))), write(test, map(prompt, range(20, 200))), taught[0], judge)


@pytest.mark.parametrize("method", ["ppo", "rloo"])
def test_a_learned_reward_is_climbed(method, prompts, tmp_path):
    """One seed each. 180 answers of pi_0 have a mean reward of standard error below .1, and so have those of a policy
    that learned nothing: .3 is three errors of the difference, a false alarm in .2% of cases."""
    told = []
    report = run_text(dataclasses.replace(ALIGN, method=method), prompts, tmp_path, tell=told.append)
    assert report.reward["mean"] > report.reward_before["mean"] + 0.3
    assert report.gained["mean"] == pytest.approx(report.reward["mean"] - report.reward_before["mean"])
    assert report.verdict == "the reward rose, on 180 prompts"
    # What does not end pays one deviation; KL is a sum of what is never negative.
    unended = 1 - report.ended["mean"]
    assert report.reward["mean"] == pytest.approx(report.plain_reward["mean"] - unended, abs=1e-5)
    assert 0 < report.kl["low"] < report.kl["mean"]
    assert 1 <= report.length["mean"] <= ALIGN.answer + 1
    assert report.loss is None and report.accuracy is None and len(report.samples_after) == 3
    assert {"step", "loss", "reward", "log_ratio", "ended", "length"} == report.curve[0].keys()
    assert any("optimising it is not advised" in line for line in told)


class Stop(Exception):
    pass


def stop_at(step):
    def stop(moment):
        if moment.step == step:
            raise Stop

    return stop


def test_a_climb_that_was_stopped_ends_as_if_it_had_not_been(prompts, tmp_path):
    run = dataclasses.replace(ALIGN, method="rloo", steps=4, check_every=2)
    whole = run_text(run, prompts, tmp_path / "whole")
    with pytest.raises(Stop):
        run_text(run, prompts, tmp_path / "parts", progress=stop_at(3))
    assert read_metadata(tmp_path / "parts" / CHECKPOINT)["step"] == 2
    assert run_text(run, prompts, tmp_path / "parts") == whole


def test_a_step_is_compiled_once(prompts, tmp_path, caplog):
    with jax.log_compiles():
        run_text(dataclasses.replace(ALIGN, method="rloo", steps=2), prompts, tmp_path)
    assert sum(line.startswith("Finished XLA compilation of jit(step)") for line in caplog.messages) == 1


def test_what_a_climb_lacks_is_said_before_anything_is_read(data, taught, judge, tmp_path):
    run, nothing = dataclasses.replace(ALIGN, method="rloo"), Files(tmp_path / "nowhere.jsonl")
    with pytest.raises(TrainingError, match="rloo compares with a model"):
        run_text(run, nothing._replace(reward=judge), tmp_path)
    with pytest.raises(TrainingError, match="dpo maximises no reward; ppo, rloo, grpo, dr_grpo do"):
        dpo = dataclasses.replace(RUN, method="dpo")
        run_text(dpo, nothing._replace(start=taught[0], reward=judge), tmp_path)
    with pytest.raises(TrainingError, match="rloo maximises a reward: say which"):
        run_text(run, nothing._replace(start=taught[0]), tmp_path)
    with pytest.raises(TrainingError, match=r"no reward model, for want of head\.safetensors"):
        run_text(run, nothing._replace(start=taught[0], reward=taught[0]), tmp_path)
    with pytest.raises(TrainingError, match="a context of 32 has no room for answers of 32 tokens"):
        climb = data._replace(start=taught[0], reward=judge)
        run_text(dataclasses.replace(run, answer=32), climb, tmp_path)
    with pytest.raises(TrainingError, match="a batch of 32 answers has no groups of 5"):
        dataclasses.replace(run, group=5)
    with pytest.raises(TrainingError, match="a batch of 6 answers does not divide into 4 equal parts"):
        dataclasses.replace(run, method="grpo", batch=6, group=2)
    assert dataclasses.replace(run, method="ppo", batch=4, group=1).policy.group == 1
    assert not list(tmp_path.iterdir())


def test_no_run_writes_over_what_it_reads_or_begins_with_a_judge(data, taught, judge):
    before = (taught[0] / "model.safetensors").read_bytes()
    run = dataclasses.replace(RUN, method="dpo")
    with pytest.raises(TrainingError, match="the run would write over the weights that it reads"):
        run_text(run, data._replace(start=taught[0]), taught[0] / ".." / taught[0].name)
    with pytest.raises(TrainingError, match="a reward model says nothing"):
        run_text(run, data._replace(start=judge), taught[0])
    somebodys = taught[0].parent / "somebodys"
    somebodys.mkdir()
    (somebodys / "model.safetensors").write_bytes(before)
    with pytest.raises(TrainingError, match=r"holds model\.safetensors, which no run here wrote"):
        run_text(run, data._replace(start=taught[0]), somebodys)
    assert [path.name for path in somebodys.iterdir()] == ["model.safetensors"]
    with pytest.raises(DataError, match="nowhere"):
        run_text(run, data._replace(start=taught[0], test=Path("nowhere.jsonl")), taught[0] / "other")
    assert (taught[0] / "model.safetensors").read_bytes() == before and not (taught[0] / "other").exists()


def test_a_reward_is_in_deviations_within_prompts(judge):
    """What a score says of a prompt, whichever the answer, is free in preferences, and does not move the unit."""
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 100_000))
    for free in (0.0, 10.0):
        of_prompt = free * rng.normal(size=len(one))
        body, weights = load_gpt(judge)
        reward = LearnedReward(body, END, {"model": weights}).normalised(one + of_prompt, other + of_prompt, 1.0)
        assert reward.deviation == pytest.approx(1.0, abs=0.02)


def test_a_reward_is_read_at_the_last_byte_and_an_answer_without_end_pays(judge, tmp_path):
    """The score of a padded text is that of its bytes alone; so is that of one cut in the middle of its room."""
    body, weights = load_gpt(judge)
    head = load_tree(judge / "head.safetensors", jnp.zeros(body.width))
    path = write(tmp_path / "prompts.jsonl", [{"prompt": "say "}, {"prompt": "s"}])
    part = prompt_batch(scan(path, "prompts", Bytes(), 32), [0, 1], body.context, 3)
    tokens, mask = np.full((2, part.tokens.shape[1] + part.length + 1), END), np.zeros((2, 32), bool)
    for row, (prompt, said) in enumerate([(b"say ", b"aba"), (b"s", b"ba")]):
        text = [END, *prompt, *said]
        tokens[row, : len(text)] = text
        mask[row, len(prompt) : len(prompt) + part.length] = True
    drawn = Completions(tokens[:, 1:], mask, jnp.zeros(mask.shape))
    hidden = jax.jit(partial(body.apply, method="hidden"))
    alone = [hidden(weights, jnp.array([[END, *text]]))[0, -1] @ head for text in (b"say aba", b"sba")]
    learned = {"model": weights, "head": head}
    reward = LearnedReward(body, END, learned, mean=0.5, deviation=2.0, missing_end=3.0)
    rewarded = jax.jit(lambda reward, *answers: reward(*answers))(reward, jnp.asarray(tokens[:, :1]), drawn)
    plain = [(score - 0.5) / 2 for score in alone]
    np.testing.assert_allclose(rewarded.plain, plain, atol=1e-4)
    np.testing.assert_allclose(rewarded.total, [plain[0] - 3, plain[1]], atol=1e-4)
    assert rewarded.ended.tolist() == [False, True]


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(data, tmp_path):
    whole = run_text(RUN, data, tmp_path / "whole", SIZES)
    with pytest.raises(Stop):
        run_text(RUN, data, tmp_path / "parts", SIZES, progress=stop_at(5))
    assert read_metadata(tmp_path / "parts" / CHECKPOINT)["step"] == 4
    left_behind = tmp_path / "parts" / f".{CHECKPOINT}.{'0' * 32}.tmp"
    left_behind.write_bytes(b"half")
    seen = []
    again = run_text(RUN, data, tmp_path / "parts", SIZES, progress=lambda moment: seen.append(moment.step))
    assert seen == [5, 6] and again == whole and not left_behind.exists()
    one, two = (load_gpt(tmp_path / name)[1] for name in ("whole", "parts"))
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_a_signal_keeps_what_was_made_to_the_step(data, tmp_path):
    interrupt = Interrupt()
    ask = lambda moment: moment.step == 1 and interrupt.request(signal.SIGINT)
    with pytest.raises(Interrupted, match="ended by SIGINT"):
        run_text(dataclasses.replace(RUN, check_every=100), data, tmp_path, SIZES, progress=ask, interrupt=interrupt)
    # That of the step that was under way, though a checkpoint was due later.
    assert read_metadata(tmp_path / CHECKPOINT)["step"] == 2
    seen = []
    run_text(RUN, data, tmp_path, SIZES, progress=lambda moment: seen.append(moment.step))
    assert seen == [3, 4, 5, 6]


def test_a_run_that_has_ended_can_be_extended(data, tmp_path):
    run_text(dataclasses.replace(RUN, steps=4), data, tmp_path, SIZES)
    seen = []
    longer = run_text(RUN, data, tmp_path, SIZES, progress=lambda moment: seen.append(moment.step))
    assert (
        seen == [5, 6] and longer.planned == [4, 6] and [point["step"] for point in longer.curve] == [1, 2, 3, 4, 5, 6]
    )
    with pytest.raises(TrainingError, match="has made 6 steps: --steps 5 are fewer"):
        run_text(dataclasses.replace(RUN, steps=5), data, tmp_path, SIZES)


def test_what_differs_from_the_run_of_a_directory_is_named(data, taught, tmp_path):
    run_text(dataclasses.replace(RUN, steps=1), data, tmp_path / "out", SIZES)
    others = dataclasses.replace(RUN, batch=8, seed=1)
    with pytest.raises(
        TrainingError, match="another run: batch is 4 there and 8 here, seed is 0 there and 1 here; give"
    ):
        run_text(others, data, tmp_path / "out", SIZES)
    with pytest.raises(TrainingError, match="another run: width is 16 there and 32 here; give"):
        run_text(RUN, data, tmp_path / "out", dataclasses.replace(SIZES, width=32))
    fewer = Files(write(tmp_path / "few.jsonl", ({"text": f"{n}"} for n in range(9))))
    with pytest.raises(TrainingError, match="another run: the data are others; give"):
        run_text(RUN, fewer, tmp_path / "out", SIZES)
    with pytest.raises(TrainingError, match="another run: context is 32 there and 30 here; give"):
        run_text(dataclasses.replace(RUN, context=30), data, tmp_path / "out", SIZES)
    run_text(dataclasses.replace(RUN, steps=1), data._replace(start=taught[0]), tmp_path / "started")
    with pytest.raises(TrainingError, match="another run: context is 32 there and 30 here; give"):
        run_text(dataclasses.replace(RUN, context=30), data._replace(start=taught[0]), tmp_path / "started")
    dpo = dataclasses.replace(RUN, method="dpo", steps=1)
    run_text(dpo, data._replace(start=taught[0]), tmp_path / "dpo")
    save_gpt(tmp_path / "other", MODEL, MODEL.initial_weights(jax.random.key(9)))
    with pytest.raises(TrainingError, match="the weights to begin with are others"):
        run_text(dpo, data._replace(start=tmp_path / "other"), tmp_path / "dpo")


def test_a_model_unlike_gpt_2_is_trained_resumed_and_told_from_gpt_2(data, tmp_path):
    unlike = {"activation": "relu", "layer_norm_epsilon": 1e-3, "tied": False}
    model, start = MODEL.clone(**unlike), data._replace(start=tmp_path / "start")
    save_gpt(start.start, model, model.initial_weights(jax.random.key(0)))
    whole = run_text(RUN, start, tmp_path / "whole")
    with pytest.raises(Stop):
        run_text(RUN, start, tmp_path / "parts", progress=stop_at(5))
    assert run_text(RUN, start, tmp_path / "parts") == whole
    learned, weights = load_gpt(tmp_path / "parts")
    assert learned == model and read_metadata(tmp_path / "parts" / CHECKPOINT)["model"].items() >= unlike.items()
    jax.tree.map(np.testing.assert_array_equal, weights, load_gpt(tmp_path / "whole")[1])
    assert np.abs(weights["params"]["lm_head"] - load_gpt(start.start)[1]["params"]["lm_head"]).max() > 1e-3
    gpt_2 = data._replace(start=tmp_path / "gpt_2")
    save_gpt(gpt_2.start, MODEL, MODEL.initial_weights(jax.random.key(0)))
    for out, there, here in (("parts", start, gpt_2), ("other", gpt_2, start)):
        run_text(RUN, there, tmp_path / out)
        with pytest.raises(TrainingError, match=r"another run: .*activation is .*, layer_norm_epsilon is .*, tied is "):
            run_text(RUN, here, tmp_path / out)


def test_checkpoints_that_are_older_than_a_setting_go_on(data, tmp_path, monkeypatch):
    """They are of what it is unless set. What tells a model from GPT-2 stands in none of GPT-2."""
    run_text(dataclasses.replace(RUN, steps=2), data, tmp_path, SIZES)
    written = read_metadata(tmp_path / CHECKPOINT)
    assert not {"activation", "layer_norm_epsilon", "tied"} & written["model"].keys()
    del written["run"]["packing"]
    monkeypatch.setattr(training, "read_metadata", lambda path: written)
    with pytest.raises(TrainingError, match="another run: packing is False there and True here; give"):
        run_text(dataclasses.replace(RUN, packing=True), data, tmp_path, SIZES)
    assert run_text(RUN, data, tmp_path, SIZES).planned == [2, 6]


def test_packed_texts_are_learned_resumed_and_reported(data, tmp_path):
    run = dataclasses.replace(LONG, packing=True, batch=2, steps=40, check_every=20)
    told = []
    whole = run_text(run, data, tmp_path / "whole", SIZES, tell=told.append)
    with pytest.raises(Stop):
        run_text(run, data, tmp_path / "parts", SIZES, progress=stop_at(30))
    assert read_metadata(tmp_path / "parts" / CHECKPOINT)["step"] == 20
    assert run_text(run, data, tmp_path / "parts", SIZES) == whole
    assert whole.loss["mean"] < 3.5 and whole.curve[-1]["loss"] < whole.curve[0]["loss"]
    # Texts have 8 to 13 tokens, rows 32.
    texts = whole.examples - whole.held_out
    assert 0 < whole.padding < 0.3 and told[-1].startswith(f"{texts} texts are packed into ")
    assert told[-1].endswith(f" rows of 32 tokens, {whole.padding:.1%} of them padding")
    assert f"packed rows: {whole.padding:.1%} padding" in list(in_lines(whole))
    page = write_text_page(tmp_path / "whole", tmp_path / "page.html").read_text()
    assert f"{whole.padding:.1%} of packed rows padding" in page
    run_text(dataclasses.replace(run, batch=64, steps=1), data, tmp_path / "many", SIZES, tell=told.append)
    assert re.fullmatch(r"a batch of 64 rows holds some of the \d\d more than once", told[-1])


def test_what_cannot_be_packed_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match="method is rm and packing is true: only texts that are imitated are packed"):
        TextRun(method="rm", packing=True)
    fused = ModelSettings(attention="cudnn", dtype="bfloat16")
    with pytest.raises(TrainingError, match="attention is cudnn, and only xla keeps packed texts from each other"):
        run_text(dataclasses.replace(RUN, packing=True), data, tmp_path, fused)


def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(data, tmp_path):
    weights = MODEL.initial_weights(jax.random.key(0))
    embedding = weights["params"]["wte"]["embedding"]
    weights["params"]["wte"]["embedding"] = jnp.full_like(embedding, 3e38)
    save_gpt(tmp_path / "broken", MODEL, weights)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 0; no checkpoint was written"):
        run_text(dataclasses.replace(RUN, log_every=4), data._replace(start=tmp_path / "broken"), tmp_path / "out")
    assert not (tmp_path / "out" / CHECKPOINT).exists()


@pytest.mark.filterwarnings("ignore:overflow")
def test_weights_that_are_no_numbers_are_never_kept(data, tmp_path):
    """A step whose loss is still a number can ruin the weights: here by how they were."""
    weights = MODEL.initial_weights(jax.random.key(0))
    scale = weights["params"]["ln_f"]["scale"]
    weights["params"]["ln_f"]["scale"] = jnp.full_like(scale, 3e38)
    weights["params"]["ln_f"]["bias"] = jnp.zeros_like(scale)
    save_gpt(tmp_path / "broken", MODEL, weights)
    with pytest.raises(TrainingError, match=r"no numbers? (at|after) step 0|is (nan|inf) at step 0"):
        run_text(dataclasses.replace(RUN, check_every=1), data._replace(start=tmp_path / "broken"), tmp_path / "out")
    assert not (tmp_path / "out" / CHECKPOINT).exists()


def test_sizes_that_contradict_the_weights_are_refused(data, taught, tmp_path):
    from_them = data._replace(start=taught[0])
    with pytest.raises(TrainingError, match="width is 32, and 16 of the weights to begin with"):
        run_text(RUN, from_them, tmp_path, ModelSettings(width=32))
    with pytest.raises(TrainingError, match="context is 64, and 32 of the weights to begin with"):
        run_text(dataclasses.replace(RUN, context=64), from_them, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_smaller_context_and_another_precision_hold_with_weights_to_begin_with(data, taught, tmp_path):
    told = []
    run = dataclasses.replace(RUN, steps=1, context=10)
    settings = ModelSettings(dtype="bfloat16", remat=True)
    # JAX's own attention promotes half precision.
    with jax.numpy_dtype_promotion("standard"):
        run_text(run, data._replace(start=taught[0]), tmp_path, settings, tell=told.append)
    assert load_gpt(tmp_path)[0] == MODEL and any("longer than the context of 10 tokens" in line for line in told)
    assert read_metadata(tmp_path / CHECKPOINT)["model"]["dtype"] == "bfloat16"


def test_what_cannot_be_trained_is_refused_with_a_reason(data, tmp_path):
    with pytest.raises(TrainingError, match="unknown method 'pppo', expected one of sft, rm, dpo, ipo, kto, ppo, rloo"):
        TextRun(method="pppo")
    for settings in ({"held_out": 1.5}, {"beta": -1.0}, {"learning_rate": 0.0}, {"batch": 0}, {"context": 1}):
        with pytest.raises(ValueError, match=f"{next(iter(settings))} is "):
            TextRun(**settings)
    for method in ("dpo", "ipo", "kto"):
        with pytest.raises(ValueError, match=f"method is {method} and beta is 0"):
            TextRun(method=method, beta=0.0)
    with pytest.raises(ValueError, match="method is kto and batch is 1"):
        TextRun(method="kto", batch=1)
    lone = Files(write(tmp_path / "one.jsonl", [{"text": "a"}]))
    with pytest.raises(DataError, match="1 example: none can be held out"):
        run_text(RUN, lone, tmp_path / "lone", SIZES)
    with pytest.raises(DataError, match=r"one\.jsonl, line 1: a preference needs"):
        run_text(dataclasses.replace(RUN, method="rm"), lone, tmp_path / "lone", SIZES)
    assert not (tmp_path / "lone").exists()


def test_a_test_file_judges_and_what_it_shares_is_counted(data, tmp_path):
    one = Files(data.data, test=write(tmp_path / "test.jsonl", [{"prompt": "say 3 ", "completion": "a"}]))
    told = []
    report = run_text(dataclasses.replace(RUN, steps=1), one, tmp_path / "out", SIZES, tell=told.append)
    assert (report.examples, report.held_out, report.judged, report.shared_prompts) == (60, 1, 1, 1)
    # One example has a loss and no interval.
    assert report.loss["mean"] > 0 and report.loss["low"] is None and report.loss["high"] is None
    assert report.verdict == as_good_as_pairs(0, 1)
    assert any("test.jsonl: 1 examples have prompts that are learned from" in line for line in told)
    assert read_report(tmp_path / "out")["shared_prompts"] == 1 and read_report(tmp_path) is None


def test_pairs_that_a_model_does_not_see_whole_are_counted_before_training(tmp_path):
    lines = [{"prompt": f"say {n} ", "chosen": 20 * "a" + end, "rejected": 20 * "a"} for n in range(9) for end in "bc"]
    lines[0]["rejected"] = "no"
    files = Files(write(tmp_path / "pairs.jsonl", lines))
    data = prepare(dataclasses.replace(RUN, method="rm"), files, Bytes(), 16, False)
    said = remarks(dataclasses.replace(RUN, method="rm"), files, data)
    assert said == [
        "18 examples are longer than the context of 16 tokens and are cut",
        "17 pairs are equal where they are cut, and teach nothing",
    ]


def test_losses_are_those_of_the_texts_one_by_one(taught, tmp_path):
    """Padding and prompts count for nothing: h of a padded batch is that of each text alone."""
    model, reference = load_gpt(taught[0])
    weights = model.initial_weights(jax.random.key(5))
    texts = [("say ", ("aaa", "b")), ("", ("x", "yyyyyyy"))]
    lines = [{"prompt": prompt, "chosen": one, "rejected": two} for prompt, (one, two) in texts]
    corpus = scan(write(tmp_path / "pairs.jsonl", lines), "pairs", Bytes(), model.context)
    part = token_batch(corpus, [0, 1], model.context)

    summed = jax.jit(lambda weights, before, after: token_log_probs(model, weights, before, after).sum())

    def h(prompt, completion):
        before = jnp.array([[END, *prompt.encode()]])
        after = jnp.array([[*completion.encode(), END]])
        ours, theirs = (summed(w, before, after) for w in (weights, reference))
        return float(ours - theirs)

    pairs = [[h(prompt, text) for text in answers] for prompt, answers in texts]
    margins = np.array([one - two for one, two in pairs])
    loss, margin = LOSSES("dpo", 0.3, model, {"model": weights}, reference, part.tokens, part.mask)
    np.testing.assert_allclose(margin, margins, atol=1e-4)
    np.testing.assert_allclose(loss, np.log1p(np.exp(-0.3 * margins)), atol=1e-4)
    each, _ = LOSSES("sft", 0.1, model, {"model": weights}, reference, part.tokens[:, :1], part.mask[:, :1])
    alone = float(summed(weights, jnp.array([[END, *b"say "]]), jnp.array([[*b"aaa", END]]))) / len(b"aaa.")
    assert float(each[0]) == pytest.approx(-alone, abs=1e-5)

    crossed = [[h(texts[i][0], text) for text in texts[1 - i][1]] for i in (0, 1)]
    z = max(np.mean(crossed), 0)
    four = token_batch(corpus, [0, 1], model.context, [1, 0])
    loss, _ = LOSSES("kto", 0.3, model, {"model": weights}, reference, four.tokens, four.mask)
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    expected = [1 - 0.5 * (sigmoid(0.3 * (w - z)) + sigmoid(0.3 * (z - r))) for w, r in pairs]
    np.testing.assert_allclose(loss, expected, atol=1e-4)

    # Single answers, the first good and the second bad, each beside the other's.
    single = four.tokens[:, [0, 2]], four.mask[:, [0, 2]], np.array([True, False])
    loss, agreement = LOSSES("kto", 0.3, model, {"model": weights}, reference, *single)
    z = max(np.mean([row[0] for row in crossed]), 0)
    good, bad = pairs[0][0], pairs[1][0]
    np.testing.assert_allclose(agreement, [good, -bad], atol=1e-4)
    np.testing.assert_allclose(loss, [1 - sigmoid(0.3 * (good - z)), 1 - sigmoid(0.3 * (z - bad))], atol=1e-4)
