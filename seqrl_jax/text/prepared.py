"""What a run learns from and what judges it, read before its first step, and what its user should know of both."""

from __future__ import annotations

from typing import NamedTuple

from seqrl_jax.text.corpus import Corpus, Part, scan
from seqrl_jax.text.packing import Packing, pack
from seqrl_jax.text.report import read_report
from seqrl_jax.text.settings import Files, TextRun, TrainingError
from seqrl_jax.text.splitting import shared, split
from seqrl_jax.text.vocabulary import Vocabulary

MOST_JUDGED, MOST_ANSWERED = 2000, 256
"""Examples that judge at most, and prompts that are answered to judge or to normalise a reward."""


class Prepared(NamedTuple):
    """Attributes:
    corpus, tested: all that was read of the data, and of the file that judges, where there is one.
    context: tokens of a text at most. training, held: the examples that are learned from, and the others.
    judged: those of `held` that judge. truncated: how many of all are cut; alike: pairs that are equal then.
    packing: of the examples that are learned from, where they share rows.
    """

    corpus: Corpus
    tested: Corpus | None
    context: int
    training: Part
    held: Part
    judged: Part
    truncated: int
    alike: int
    packing: Packing | None

    @property
    def overlap(self) -> int:
        """Examples of the file that judges whose prompts are learned from."""
        return 0 if self.tested is None else shared(self.corpus, self.tested)


def prepare(run: TextRun, files: Files, vocabulary: Vocabulary, context: int, skip_bad: bool) -> Prepared:
    """Read the data of a run. Raises: as `scan` and `split` do; TrainingError where the file that judges holds examples
    of another form."""
    corpus = scan(files.data, run.reads, vocabulary, context, skip_bad)
    if files.test is None:
        tested = None
        training, held = split(corpus, run.held_out)
    else:
        tested = scan(files.test, run.reads, vocabulary, context, skip_bad)
        if tested.form != corpus.form:
            raise TrainingError(f"{files.test} holds {tested.form}s, where {files.data} holds {corpus.form}s")
        training, held = corpus.whole, tested.whole
    truncated = lambda part: (
        part.truncated_prompts(context, run.answer) if run.draws_answers else part.truncated(context)
    )
    return Prepared(
        corpus=corpus,
        tested=tested,
        context=context,
        training=training,
        held=held,
        judged=held.some(MOST_ANSWERED if run.draws_answers else MOST_JUDGED),
        truncated=truncated(training) + truncated(held),
        alike=training.alike(context) + held.alike(context),
        packing=pack(training, context, run.seed) if run.packing else None,
    )


def remarks(run: TextRun, files: Files, data: Prepared) -> list[str]:
    """A line for whatever is not learned from as it stands, and what the run of a reward model said of it."""
    said = data.corpus.remarks(files.data)
    if files.test is not None and data.tested is not None:
        said += data.tested.remarks(files.test)
    if data.truncated:
        room = f" with room for answers of {run.answer}" if run.draws_answers else ""
        context = f"the context of {data.context} tokens{room}"
        said.append(f"{data.truncated} examples are longer than {context} and are cut")
    if data.alike:
        said.append(f"{data.alike} pairs are equal where they are cut, and teach nothing")
    if (packing := data.packing) is not None:
        rows = f"{len(packing)} rows of {data.context} tokens, {packing.padding:.1%} of them padding"
        said.append(f"{len(packing.texts)} texts are packed into {rows}")
        if len(packing) < run.batch:
            said.append(f"a batch of {run.batch} rows holds some of the {len(packing)} more than once")
    if overlap := data.overlap:
        said.append(f"{files.test}: {overlap} examples have prompts that are learned from")
    verdict = None if files.reward is None else (read_report(files.reward) or {}).get("verdict")
    return [*said, f"{files.reward}: {verdict}"] if verdict else said
