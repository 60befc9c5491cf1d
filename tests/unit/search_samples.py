"""Searches made by hand for the tests of views: two beams over few words, one record of each other kind.

The beams' totals are natural logarithms of products anybody can check: 0.5, 0.3, 0.5 x 0.6 and so on.
"""

from __future__ import annotations

from math import log

from tests.unit.view_samples import PROMPT_IDS, SIZE, VOCABULARY, step
from tokenglass.healing import Healing, HealingCandidate, HealingStep
from tokenglass.search.records import (
    Beam,
    BeamCandidate,
    BeamStep,
    ContrastiveRow,
    ContrastiveStep,
    DolaStep,
    Draft,
    DraftStep,
    Hypothesis,
)
from tokenglass.types import Generation, Sequence
from tokenglass.types.searching import SearchRecords

END = SIZE - 1
LIKE, HAVE, WERE, COMMA, SCRIPT, BIDI = 8, 9, 10, 4, 27, 17
WHY = "not among the best 2 unfinished"
BANK = (
    Hypothesis((LIKE, END), log(0.15), 2, 2.0, log(0.15) / 2, "eos", 1),
    Hypothesis((LIKE, COMMA, BIDI), log(0.15), 3, 3.0, log(0.15) / 3, "length", 2),
)
FIRST_STEP = BeamStep(
    step=0,
    position=8,
    beams=(Beam((), 0.0),),
    candidates=(
        BeamCandidate(1, 0, LIKE, log(0.5), log(0.5), None, "runs", "number 1 of the best 2 unfinished", 0),
        BeamCandidate(2, 0, HAVE, log(0.3), log(0.3), None, "runs", "number 2 of the best 2 unfinished", 1),
        BeamCandidate(3, 0, WERE, log(0.1), log(0.1), None, "pruned", WHY),
        BeamCandidate(4, 0, SCRIPT, log(0.05), log(0.05), None, "pruned", WHY),
    ),
    bank=(),
    best_possible=None,
    worst_finished=None,
    margin=log(3),
    stop=None,
)
SECOND_STEP = BeamStep(
    step=1,
    position=9,
    beams=(Beam((LIKE,), log(0.5)), Beam((HAVE,), log(0.3))),
    candidates=(
        BeamCandidate(1, 0, COMMA, log(0.6), log(0.3), None, "runs", "number 1 of the best 2 unfinished", 0),
        BeamCandidate(2, 0, END, log(0.3), log(0.15), "eos", "banked", "finished: -1.8971 / 2 = -0.9486"),
        BeamCandidate(3, 1, BIDI, log(0.4), log(0.12), None, "runs", "number 2 of the best 2 unfinished", 1),
        BeamCandidate(4, 1, WERE, log(0.1), log(0.03), None, "pruned", WHY),
    ),
    bank=BANK[:1],
    best_possible=log(0.3) / 2,
    worst_finished=log(0.15) / 2,
    margin=0.0046,
    stop=None,
)


def later(number: int) -> BeamStep:
    """One more step of the same kind."""
    running = (Beam((LIKE, COMMA), log(0.3)), Beam((HAVE, BIDI), log(0.12)))
    return BeamStep(number, 8 + number, running, SECOND_STEP.candidates[:1], BANK[:1], None, None, None, None)


LAST_STEP = BeamStep(
    step=7,
    position=15,
    beams=(Beam((LIKE, COMMA), log(0.3), group=0, bank=0), Beam((HAVE, BIDI), log(0.12), group=1, bank=1)),
    candidates=(
        BeamCandidate(
            1, 0, BIDI, log(0.5), log(0.15), "length", "banked", "finished: -1.8971 / 3 = -0.6324", bank=0
        ),
        BeamCandidate(
            1, 1, COMMA, log(0.2), log(0.024), None, "runs", "put forward by a forced word", 0, 1, True, 1
        ),
    ),
    bank=BANK[::-1],
    best_possible=-0.1,
    worst_finished=log(0.15) / 2,
    margin=None,
    stop="no running beam can beat the worst finished text",
    penalties=((), ((LIKE, 1), (SCRIPT, 2))),
)
LONG = (FIRST_STEP, SECOND_STEP, *map(later, range(2, 7)), LAST_STEP)
CONTRASTIVE = ContrastiveStep(
    step=0,
    position=8,
    rows=(
        ContrastiveRow(1, LIKE, 0.5, 0.9, 3, 0.4 * 0.5 - 0.6 * 0.9, False),
        ContrastiveRow(2, SCRIPT, 0.25, 0.5, 0, 0.4 * 0.25 - 0.6 * 0.5, True),
    ),
    margin=0.14,
    margin_top_k=None,
    finish_reason="length",
)
DOLA = DolaStep(
    step=0,
    position=8,
    divergences=((2, 0.000254), (4, 0.000516)),
    layer=4,
    alive=24,
    token_id=SCRIPT,
    final_logprob=-1.25,
    layer_logprob=-7.5,
    contrast=6.25,
    margin=0.5,
    layer_margin=0.000262,
    cut_margin=0.1,
    finish_reason=None,
)
LONE_LAYER = DolaStep(1, 9, ((4, None),), 4, 1, END, -0.5, -1.0, 0.5, None, None, 0.1, "eos")
DRAFTED = DraftStep(
    step=0,
    position=8,
    drafts=(
        Draft(8, LIKE, "accepted", 0.5, 0.4, 1.25, 0.81, None, 0.2),
        Draft(9, SCRIPT, "rejected", 0.1, 0.5, 0.2, 0.4133, None, 0.2),
        Draft(10, HAVE, "unread", None, 0.25, None, None, None, None),
    ),
    written=(LIKE, COMMA),
    bonus="residual",
    budget=3,
    source=None,
    ngram=None,
    finish_reason=None,
)
COPIED = DraftStep(
    step=1,
    position=10,
    drafts=(Draft(10, HAVE, "rejected", 0.1, None, None, None, LIKE, 0.2),),
    written=(LIKE,),
    bonus="correction",
    budget=3,
    source=(4, 5),
    ngram=1,
    finish_reason="length",
)
NO_DRAFT = DraftStep(2, 11, (), (LIKE,), "next", 3, None, None, None)
HEALING = Healing(
    "bytes",
    (0, 1),
    "Once upon",
    (0, 2),
    (0,),
    (VOCABULARY.token(1),),
    (HealingStep(b" upon", HealingCandidate(VOCABULARY.token(SCRIPT), 0.1, 0.61, True), (), 3),),
)
STOPPED = (step(LIKE), step(COMMA, 9, finish_reason="stop_string"))


def search(*records: object, **changes: object) -> Generation:
    """A generation of two texts with these records."""
    texts = (
        Sequence((LIKE, COMMA), " like,", STOPPED, "stop_string", log(0.15) / 3),
        Sequence((LIKE,), " like\u202e", STOPPED[:1], "eos", log(0.15) / 2),
    )
    values = {"sequences": texts, "search": records} | changes
    return Generation(PROMPT_IDS, "Once upon a time, generative models", **values)  # type: ignore[arg-type]


SEARCHES = {
    "records": SearchRecords((FIRST_STEP,), VOCABULARY),
    "records_drafts": SearchRecords((DRAFTED,), VOCABULARY),
    "not_begun": SearchRecords((), VOCABULARY),
    "beam_film": search(*LONG),
    "contrastive": search(CONTRASTIVE),
    "dola": search(DOLA, LONE_LAYER),
    "drafts": search(DRAFTED, COPIED, NO_DRAFT, sequences=search().sequences[:1]),
    "healed": search(
        healing=HEALING, warnings=("seed changed\x1b[2J", "slow"), sequences=search().sequences[:1]
    ),
}
