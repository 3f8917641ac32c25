"""Logs as files: read back to the letter, or refused in one line that names the place."""

import json
from pathlib import Path

import numpy as np
import pytest

from seqrl_jax.dialogue.exact import Known
from seqrl_jax.dialogue.files import LogError, read_log, write_log
from seqrl_jax.dialogue.logs import logged, spelled, symbol_log_probs
from seqrl_jax.dialogue.possible import impossible
from seqrl_jax.dialogue.probabilities import contradicted
from seqrl_jax.dialogue.registry import make_game
from seqrl_jax.dialogue.views import spelling
from seqrl_jax.tasks import make
from seqrl_jax.tasks.pomdp_file import write_pomdp

SPEC = "negotiation:turns=4"


@pytest.fixture(scope="module")
def game():
    return make_game(SPEC)


@pytest.fixture(scope="module")
def log(game):
    return logged(game, 40, 11)


def assert_the_same(back, log):
    for name in ("utterance", "reply", "reward", "length", "terminated"):
        np.testing.assert_allclose(getattr(back, name), getattr(log, name), rtol=1e-6, err_msg=name)
    chosen = lambda log: np.take_along_axis(log.probability, log.utterance[..., None], 2)[..., 0]
    spoken = np.arange(4) < log.length[:, None]
    np.testing.assert_allclose(chosen(back)[spoken], chosen(log)[spoken], rtol=1e-6)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_log_comes_back(tmp_path, game, log, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"log.{ending}"
    write_log(path, SPEC, game, log, 11)
    assert_the_same(read_log(path, game), log)
    again = tmp_path / f"again.{ending}"
    write_log(again, SPEC, game, log, 11)
    assert again.read_bytes() == path.read_bytes()


def without(log, words=False):
    """Lines whose turns have no probabilities, or those of words alone."""
    for line in map(json.loads, log):
        for turn in line["turns"]:
            turn.pop("probability")
            if not words:
                turn.pop("token_probabilities")
        yield json.dumps(line)


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("ending", ["jsonl", "parquet", "minari"])
def test_what_is_unknown_stays_unknown_when_a_log_is_written_again(tmp_path, monkeypatch, game, log, ending, words):
    """Of a log without probabilities none is made up, and those of words are enough to know an utterance's."""
    pytest.importorskip({"jsonl": "json", "parquet": "pyarrow", "minari": "minari"}[ending])
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    first, second = tmp_path / "first.jsonl", tmp_path / f"second.{ending}"
    second = Path("minari:seqrl/again-v0") if ending == "minari" else second
    write_log(first, SPEC, game, log, 11)
    first.write_text("\n".join(without(first.read_text().splitlines(), words)))
    found = read_log(first, game)
    assert_the_same(found, log if words else log._replace(probability=0 * log.probability))
    write_log(second, SPEC, game, found, 11)
    assert_the_same(read_log(second, game), found)


def test_an_ending_that_is_none_is_refused(tmp_path, game, log):
    with pytest.raises(ValueError, match=r"\.jsonl or \.parquet"):
        write_log(tmp_path / "log.csv", SPEC, game, log, 11)
    assert not list(tmp_path.iterdir())


def damaged(lines, change):
    """The lines, the second one changed."""
    entry = json.loads(lines[1])
    change(entry)
    return [lines[0], json.dumps(entry), *lines[2:]]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d["turns"][0].update(said="offer 51"), "turn 0 has the word '51'"),
        (lambda d: d["turns"][0].update(said="offer accept"), "unknown turn 0 'offer accept'"),
        (lambda d: d.update(opening="bid what"), "opening has the word 'what'"),
        (lambda d: d["turns"][0].pop("reward"), "reward"),
        (lambda d: d["turns"][0].update(reward="much"), "Expected `float`"),
        (lambda d: d.update(terminated=False, truncated=False), "ends in one way"),
        (lambda d: d.update(terminated=True, truncated=True), "ends in one way"),
        (lambda d: d.update(turns=[]), "no turns"),
        (lambda d: d.update(turns=d["turns"] * 9), "4 at most"),
        (lambda d: d.update(game="wordle"), "a dialogue of 'wordle', not of negotiation"),
        (
            lambda d: d.update(game="negotiation:turns=5"),
            "a dialogue of 'negotiation:turns=5', which has other settings",
        ),
        (
            lambda d: d.update(game="negotiation:turns=many"),
            "which cannot be made: 'negotiation:turns=many': turns is ",
        ),
        (lambda d: d["turns"][0].update(probability=1.5), "probability of 1.5"),
        (lambda d: d["turns"][0].update(probability=0.0), "probability of 0"),
        (lambda d: d["turns"][0].update(token_probabilities=[0.5]), "1 token probabilities"),
        (
            lambda d: d["turns"][0].update(token_probabilities=[0.9] * (len(d["turns"][0]["said"].split()) + 1)),
            "its words with",
        ),
        (lambda d: d["turns"][-1].update(reply="bid 50"), "has a reply"),
        (lambda d: d.update(colour="red"), "unknown field `colour`"),
    ],
)
def test_a_bad_line_is_named(tmp_path, game, log, change, why):
    path = tmp_path / "log.jsonl"
    write_log(path, SPEC, game, log, 11)
    path.write_text("\n".join(damaged(path.read_text().splitlines(), change)))
    with pytest.raises(LogError, match=r"log\.jsonl, line 2") as error:
        read_log(path, game)
    assert why in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("chances", "why"),
    [
        # (what is said first, how likely): each a dialogue, which all open alike.
        ([("offer 150", 0.5), ("offer 137", 0.5), ("offer 125", 0.1)], "line 3: turn 0: what is said .* more than 1"),
        (
            [("offer 150", 0.5), ("offer 137", 0.2), ("offer 150", 0.4)],
            "line 3: turn 0: what is said has probability 0.4, and 0.5 behind",
        ),
        ([("offer 150", 0.5), ("offer 137", 0.5), ("offer 150", 0.50001)], None),
        ([("offer 150", 0.9), ("offer 137", None), ("offer 125", 0.1)], None),
        # The same of words and ends.
        ([("offer 150", [0.9, 0.5, 1.0]), ("accept", [0.2, 1.0])], "line 2: turn 0: word 0 of .* more than 1"),
        ([("offer 150", [0.9, 0.5, 1.0]), ("accept", [0.1, 1.0])], None),
        (
            [("offer 150", [0.9, 0.1, 1.0]), ("offer 150", [0.1, 0.9, 1.0])],
            "line 2: turn 0: word 0 of .* probability 0.1, and",
        ),
        ([("offer 150", [0.5, 0.5, 0.1])], "line 1: turn 0: word 2 of .* less than 1, and nothing else"),
        ([("offer 150", [0.5, 0.7, 1.0]), ("offer 137", [0.5, 0.7, 1.0])], "line 2: turn 0: word 1 of .* more than 1"),
    ],
)
def test_probabilities_are_one_law_of_what_was_said_before(tmp_path, chances, why):
    path, game = tmp_path / "log.jsonl", make_game("negotiation:turns=1")
    ends = {"terminated": True, "truncated": False}
    key = lambda chance: "token_probabilities" if isinstance(chance, list) else "probability"
    pays = lambda said: -5.0 if said == "accept" else -20.0
    turns = ({"said": said, "reward": pays(said), key(chance): chance} for said, chance in chances)
    lines = [{"game": "negotiation:turns=1", "opening": "bid 50", "turns": [turn], **ends} for turn in turns]
    path.write_text("\n".join(map(json.dumps, lines)))
    if why is None:
        assert len(read_log(path, game).length) == len(chances)
        return
    with pytest.raises(LogError, match=why):
        read_log(path, game)


def test_where_everything_is_said_it_comes_to_one(tmp_path):
    path, game = tmp_path / "log.jsonl", make_game("small_talk:turns=1")
    told = lambda chance: [
        {"game": "small_talk:turns=1", "opening": "well fine", "terminated": False, "truncated": True,
         "turns": [{"said": said.replace("_", " "), "reward": 0.0, "probability": chance}]}
        for said in game.task.actions
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, told(1 / len(game.task.actions)))))
    assert len(read_log(path, game).length) == len(game.task.actions)
    path.write_text("\n".join(map(json.dumps, told(0.05))))
    with pytest.raises(LogError, match=rf"line {len(game.task.actions)}: turn 0: what is said .* less than 1"):
        read_log(path, game)


def test_a_dialogue_of_a_game_with_other_settings_is_refused_though_its_name_has_none(tmp_path):
    path, own = tmp_path / "log.jsonl", "negotiation:turns=4,accepts=0.9"
    other = make_game(own)
    log = logged(other, 40, 11)
    for spec, why in ((None, None), ("negotiation", "has other settings"), (SPEC, "has other settings")):
        write_log(path, own, other, log, 11)
        lines = [json.loads(line) | {"game": spec} for line in path.read_text().splitlines()]
        path.write_text("\n".join(map(json.dumps, lines)))
        if why is None:
            assert len(read_log(path, other).length) == len(log.length)
            continue
        with pytest.raises(LogError, match=f"line 1: a dialogue of '{spec}', which {why} than the game asked for"):
            read_log(path, other)


def law_of_words(log, symbols):
    """[N, H, L]: of each symbol of each utterance."""
    said = spelled(log, symbols)
    words = np.zeros((*log.utterance.shape, symbols.said.shape[1]))
    for row, chances in enumerate(np.exp(symbol_log_probs(log, said, symbols))):
        for t in range(log.length[row]):
            here = chances[said.own[row] & (said.turn[row] == t)]
            words[row, t, : len(here)] = here
    return words


def test_speakers_may_choose_by_everything_that_was_said():
    """The same utterance has other probabilities behind other words; whose words they were behind counts."""
    same = np.zeros(500, int)
    for spec in ("negotiation", "wordle:words=8", "small_talk"):
        game = make_game(spec)
        log, symbols = logged(game, 500, 3), spelling(game, "token")
        words = law_of_words(log, symbols)
        assert contradicted(log, same, words, symbols) is None
    game = make_game("wordle:words=8")
    log, symbols = logged(game, 500, 3), spelling(game, "token")
    shuffled, words = log._replace(reply=np.roll(log.reply, 1, axis=0)), law_of_words(log, symbols)
    assert contradicted(shuffled, same, np.zeros_like(words), symbols) is not None
    unknown = shuffled._replace(probability=np.zeros_like(log.probability))
    assert contradicted(unknown, same, np.zeros_like(words), symbols) is None
    assert contradicted(unknown, same, words, symbols) is not None


def test_logs_of_several_speakers_are_one_log(tmp_path):
    """Two specs of one game, which differ in who speaks, have laws of their own."""
    lines = []
    for spec in ("task:tiger:expert=0.3", "task:tiger:expert=0.9"):
        write_log(tmp_path / "log.jsonl", spec, make_game(spec), logged(make_game(spec), 100, 0), 0)
        lines += (tmp_path / "log.jsonl").read_text().splitlines()
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    assert len(read_log(tmp_path / "log.jsonl", make_game("task:tiger")).length) == 200
    merged = "\n".join(lines).replace("expert=0.9", "expert=0.3")
    (tmp_path / "log.jsonl").write_text(merged)
    with pytest.raises(LogError, match="behind the same words"):
        read_log(tmp_path / "log.jsonl", make_game("task:tiger"))


@pytest.mark.parametrize("digits", [2, 3])
def test_probabilities_that_people_rounded_are_taken(tmp_path, digits):
    game, path = make_game("small_talk:turns=2"), tmp_path / "log.jsonl"
    write_log(path, "small_talk:turns=2", game, logged(game, 300, 0), 0)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for turn in (turn for line in lines for turn in line["turns"]):
        turn.pop("token_probabilities")
        turn["probability"] = round(turn["probability"], digits)
    path.write_text("\n".join(map(json.dumps, lines)))
    assert len(read_log(path, game).length) == 300


QUESTIONS = "twenty_questions:objects=4"


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A log about four objects, as lines, and its game."""
    game, path = make_game(QUESTIONS), tmp_path_factory.mktemp("asked") / "log.jsonl"
    write_log(path, QUESTIONS, game, logged(game, 200, 2), 2)
    return game, [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("spec", ["wordle:words=8", "visual_dialogue", "text_maze", "task:tmaze:length=3", QUESTIONS])
def test_what_was_said_in_a_game_can_be_said_there(spec):
    game = make_game(spec)
    assert impossible(game, logged(game, 300, 5)) is None


def contrary(dialogue):
    """The first question once more, with the contrary answer."""
    first, second = dialogue["turns"][:2]
    second.update(said=first["said"], reply={"yes": "no", "no": "yes"}[first["reply"]])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d.update(opening="yes"), "no dialogue opens so"),
        (lambda d: d["turns"][0].update(reply="hello"), "reply 0 is none that the user gives there"),
        (contrary, "reply 1 is none that the user gives there"),
        (lambda d: d["turns"][0].update(reward=17.0), "turn 0 pays what it cannot pay there"),
        (lambda d: d.update(turns=[{**d["turns"][0], "reply": None}], terminated=True, truncated=False), "is not over"),
    ],
)
def test_what_cannot_happen_in_the_game_is_refused(tmp_path, asked, change, why):
    """An opening that is a reply elsewhere, answers that contradict each other, a reward of another game, an end in the
    middle."""
    game, dialogues = asked
    asks_first = lambda each: len(each["turns"]) > 2 and each["turns"][0]["said"].startswith("is it")
    place = next(row for row, each in enumerate(dialogues) if row and asks_first(each))
    changed = json.loads(json.dumps(dialogues[place]))
    for turn in changed["turns"]:
        del turn["token_probabilities"]
    change(changed)
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, [*dialogues[:place], changed, *dialogues[place + 1 :]])))
    with pytest.raises(LogError, match=rf"log\.jsonl, line {place + 1}: .*{why}"):
        read_log(path, game)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda rows: rows[1].update(turn=None), "row 1: turn is 'None', no whole number"),
        (lambda rows: rows[1].update(opening="bid 100"), "row 1: opening is another one than in row 0"),
        (lambda rows: rows[1].update(terminated=None), "row 1: terminated is another one than in row 0"),
        (lambda rows: rows[0].update(reward=float("nan")), "row 0: reward of turn 0 is nan, no finite number"),
        (lambda rows: rows[0].update(reward=None), "row 0: Object missing required field `reward`"),
    ],
)
def test_a_bad_row_is_named(tmp_path, game, log, change, why):
    parquet = pytest.importorskip("pyarrow.parquet")
    path, several = tmp_path / "log.parquet", log.length > 1
    write_log(path, SPEC, game, type(log)(*(leaf[several] for leaf in log)), 11)
    table = parquet.read_table(path)
    rows = table.to_pylist()
    change(rows)
    parquet.write_table(type(table).from_pylist(rows, schema=table.schema), path)
    with pytest.raises(LogError) as error:
        read_log(path, game)
    assert why in str(error.value) and "\n" not in str(error.value)


def test_words_that_are_bytes_are_no_words(tmp_path, game, log):
    parquet, path = pytest.importorskip("pyarrow.parquet"), tmp_path / "log.parquet"
    write_log(path, SPEC, game, log, 11)
    table = parquet.read_table(path)
    said = table.column("said").cast("binary")
    parquet.write_table(table.set_column(table.column_names.index("said"), "said", said), path)
    with pytest.raises(LogError, match="Expected `str`, got `bytes`"):
        read_log(path, game)


def test_a_log_of_a_task_in_a_file_comes_back(tmp_path):
    write_pomdp(make("tiger"), tmp_path / "machine.1.POMDP")
    spec = f"task:{tmp_path / 'machine.1.POMDP'}:horizon=4"
    game = make_game(spec)
    write_log(tmp_path / "log.jsonl", spec, game, logged(game, 20, 0), 0)
    np.testing.assert_array_equal(read_log(tmp_path / "log.jsonl", game).reply, logged(game, 20, 0).reply)


def test_a_task_that_a_line_names_and_nobody_can_make_is_that_lines_fault(tmp_path):
    path = tmp_path / "log.jsonl"
    write_pomdp(make("tiger"), tmp_path / "tiger.pomdp")
    for asked, spec in (
        ("task:rock_sample", "task:rock_sample:rocks=12"),
        (f"task:{tmp_path / 'tiger.pomdp'}:horizon=4", f"task:{tmp_path / 'other' / 'tiger.pomdp'}"),
    ):
        game = make_game(asked)
        write_log(path, spec, game, logged(game, 2, 0), 0)
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / "tiger.pomdp").write_text("garbage")
        with pytest.raises(LogError, match=r"log\.jsonl, line 1: a dialogue of '.*', which cannot be made: "):
            read_log(path, game)
    (tmp_path / "other" / "tiger.pomdp").unlink()
    assert len(read_log(path, game).length) == 2, "a file that is gone cannot be asked"


def test_a_column_that_stands_twice_is_named_in_one_line(tmp_path, game, log):
    parquet, path = pytest.importorskip("pyarrow.parquet"), tmp_path / "log.parquet"
    write_log(path, SPEC, game, log, 11)
    table = parquet.read_table(path)
    parquet.write_table(table.append_column("said", table.column("reply")), path)
    with pytest.raises(LogError, match=r"log\.parquet: column 'said' stands there twice$"):
        read_log(path, game)


HALF = rb'{"game": "negotiation", "opening": "\ud800", "turns": [], "terminated": true, "truncated": false}'


@pytest.mark.parametrize("line", [b"{", b"[" * 5000, b"\xff", b'{"game": NaN}', b"null", b'"text"', HALF])
def test_what_is_no_line_of_a_log_is_refused(tmp_path, game, line):
    path = tmp_path / "log.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(LogError, match="line 1"):
        read_log(path, game)


def test_an_empty_file_and_one_that_is_no_parquet(tmp_path, game):
    (tmp_path / "log.jsonl").write_bytes(b"\n")
    with pytest.raises(LogError, match="no dialogues"):
        read_log(tmp_path / "log.jsonl", game)
    pytest.importorskip("pyarrow")
    (tmp_path / "log.parquet").write_bytes(b"nothing")
    with pytest.raises(LogError, match="not Parquet"):
        read_log(tmp_path / "log.parquet", game)


@pytest.fixture
def minari(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return pytest.importorskip("minari")


def test_a_log_is_a_dataset_of_minari_with_exact_reference_scores(minari, game, log):
    path = Path("minari:seqrl/negotiation-v0")
    write_log(path, SPEC, game, log, 11)
    assert_the_same(read_log(path, game), log)
    dataset, known = minari.load_dataset("seqrl/negotiation-v0"), Known(game)
    assert dataset.total_episodes == 40 and dataset.action_space.n == game.task.num_actions
    ends = known.value(known.logged), known.value(known.best)
    np.testing.assert_allclose(minari.get_normalized_score(dataset, np.array(ends)), [0, 1], atol=1e-9)
    episode = next(iter(dataset.iterate_episodes()))
    assert len(episode.observations) == len(episode.actions) + 1
    assert episode.observations[-1] == game.task.num_observations, "nothing is replied to the last utterance"
    with pytest.raises(ValueError, match=r"^minari:seqrl/negotiation-v0: there is such a dataset already$"):
        write_log(path, SPEC, game, log, 11)
    assert_the_same(read_log(path, game), log)


@pytest.mark.parametrize("name", ["bad name", "x", "a/b/c/d", "../x-v0"])
def test_a_name_of_no_dataset_is_refused_and_nothing_is_written(minari, tmp_path, game, log, name):
    for use in (lambda path: write_log(path, SPEC, game, log, 11), lambda path: read_log(path, game)):
        with pytest.raises(ValueError, match=r"^minari:.*NAME-vNUMBER$"):
            use(Path(f"minari:{name}"))
    assert not any(tmp_path.iterdir())


def test_a_dataset_that_cannot_be_written_whole_is_not_there(minari, tmp_path, game, log, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("minari.dataset.minari_storage.MinariStorage.update_metadata", full)
    with pytest.raises(OSError, match="no space"):
        write_log(Path("minari:negotiation-v0"), SPEC, game, log, 11)
    assert not (tmp_path / "negotiation-v0").exists()


def test_a_dataset_that_is_none_of_this_game_is_refused(minari, game, log):
    with pytest.raises(LogError, match=r"^minari:nothing-v0: there is no such dataset in \S+$"):
        read_log(Path("minari:nothing-v0"), game)
    write_log(Path("minari:negotiation-v0"), SPEC, game, log, 11)
    with pytest.raises(LogError, match="episode 0: a dialogue of 'negotiation:turns=4', not of wordle"):
        read_log(Path("minari:negotiation-v0"), make_game("wordle:words=8"))
    strange = minari.data_collector.EpisodeBuffer(
        observations=[0, 0], actions=[0], rewards=[0.0], terminations=[True], truncations=[False], infos={}
    )
    space = minari.load_dataset("negotiation-v0").action_space
    with pytest.warns(UserWarning):
        minari.create_dataset_from_buffers(
            "strange-v0", [strange], action_space=space, observation_space=space, data_format="arrow"
        )
    its = r"its action space is Discrete\(\d+\): that of wordle is Discrete\(\d+\)$"
    with pytest.raises(LogError, match=rf"^minari:strange-v0: it names no game, and {its}"):
        read_log(Path("minari:strange-v0"), make_game("wordle:words=8"))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_dataset_that_others_collect_is_read_by_the_numbers_of_the_task(minari):
    """Minari's own collector around gymnasium's form of a task knows of no game, and sees the last state, too."""
    gymnasium_adapter = pytest.importorskip("seqrl_jax.tasks.gymnasium_adapter")
    collector = minari.DataCollector(gymnasium_adapter.gymnasium.make("seqrl/tmaze-v0", length=3), data_format="arrow")
    seen, said, paid, ends = [], [], [], []
    for seed in range(20):
        obs, ended = collector.reset(seed=seed)[0], False
        while not ended:
            action = np.random.default_rng(len(seen)).integers(4)
            seen.append(int(obs)), said.append(int(action))
            obs, reward, terminated, truncated, _ = collector.step(action)
            paid.append(reward), ends.append(terminated)
            ended = terminated or truncated
    collector.create_dataset("theirs-v0")

    log = read_log(Path("minari:theirs-v0"), make_game("task:tmaze:length=3,discount=1"))
    spoken = np.arange(log.utterance.shape[1]) < log.length[:, None]
    np.testing.assert_array_equal(log.utterance[spoken], said)
    np.testing.assert_array_equal(log.reply[:, :-1][spoken], seen)
    np.testing.assert_allclose(log.reward[spoken], paid, rtol=1e-6)
    assert len(log.length) == 20 and log.terminated.sum() == sum(ends) > 0 and not log.probability.any()
    with pytest.raises(LogError, match=r"^minari:theirs-v0: it names no game, and its [a-z]+ space is Discrete"):
        read_log(Path("minari:theirs-v0"), make_game("task:mini_hallway:discount=1"))
    # Of the same spaces, but the corridor is longer, or the time is. Logs hold rewards without a discount.
    assert len(read_log(Path("minari:theirs-v0"), make_game("task:tmaze:length=3,discount=0.9")).length) == 20
    for other in ("length=6", "length=3,horizon=9"):
        with pytest.raises(LogError, match="it was collected in seqrl/tmaze-v0 with other settings than tmaze"):
            read_log(Path("minari:theirs-v0"), make_game(f"task:tmaze:{other},discount=1"))


def write_episode(minari, game, log, **episode):
    """The dataset `other-v0` of the game, which holds this episode alone."""
    write_log(Path("minari:negotiation-v0"), SPEC, game, log, 11)
    made = minari.load_dataset("negotiation-v0")
    buffer = minari.data_collector.EpisodeBuffer(id=0, **episode)
    spaces = {"action_space": made.action_space, "observation_space": made.observation_space}
    with pytest.warns(UserWarning):
        minari.create_dataset_from_buffers("other-v0", [buffer], data_format="arrow", **spaces)
    about = {name: made.storage.metadata[name] for name in ("game", "utterances", "replies")}
    minari.load_dataset("other-v0").storage.update_metadata(about)


def test_an_episode_of_a_dataset_does_not_go_on_behind_its_end(minari, game, log):
    ends = {"terminations": [True, False], "truncations": [False, True]}
    write_episode(minari, game, log, observations=[0, 0, 0], actions=[0, 0], rewards=[0.0, 0.0], infos={}, **ends)
    with pytest.raises(LogError, match=r"^minari:other-v0: episode 0: ends at step 0, and goes on$"):
        read_log(Path("minari:other-v0"), game)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"utterances": "abc"}, "'utterances' of its metadata is no list of words"),
        ({"utterances": 5}, "'utterances' of its metadata is no list of words"),
        ({"replies": [1, 2, 3]}, "'replies' of its metadata is no list of words"),
        ({"utterances": ["one"]}, "is none of the 1 that it names"),
        ({"replies": ["one"]}, "is none of the 1 that it names"),
    ],
)
def test_a_dataset_whose_words_are_not_those_of_its_numbers_is_refused(minari, game, log, change, why):
    path = Path("minari:seqrl/negotiation-v0")
    write_log(path, "negotiation:turns=4", game, log, 3)
    minari.load_dataset("seqrl/negotiation-v0").storage.update_metadata(change)
    with pytest.raises(LogError, match=f"^minari:seqrl/negotiation-v0: .*{why}"):
        read_log(path, game)


@pytest.mark.parametrize("chances", [["x", "y"], [[0.5, 0.5], [0.5, 0.5]]])
def test_a_dataset_whose_probabilities_are_no_numbers_is_refused(minari, game, log, chances):
    of = {"terminations": [True], "truncations": [False], "infos": {"probability": chances}}
    write_episode(minari, game, log, observations=[0, 9], actions=[0], rewards=[-5.0], **of)
    with pytest.raises(LogError, match=r"^minari:other-v0: episode 0: 'probability' of its infos is no list"):
        read_log(Path("minari:other-v0"), game)
