"""What each strategy leaves behind at each step: plain frozen values, enough to play the search as a film.

Ids, numbers and tuples only. Scores are natural-log sums unless a name says otherwise; None where there is no
such number. A step refers to the one before it by index (`parent` is a place in that step's `beams`), so the
film runs backwards as well as forwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tokenglass.types import FinishReason

Fate = Literal["runs", "banked", "pruned"]
Verdict = Literal["accepted", "rejected", "unread"]


@dataclass(frozen=True, slots=True)
class Beam:
    """One running beam before a step.

    Attributes:
        ids: what it has written so far.
        total: its running score: the sum of log-probabilities after the chain.
        group: which group it belongs to; 0 without groups.
        bank: how many steps towards the forced words it has made; None without forced words.
    """

    ids: tuple[int, ...]
    total: float
    group: int = 0
    bank: int | None = None


@dataclass(frozen=True, slots=True)
class BeamCandidate:
    """One continuation that was considered.

    Attributes:
        rank: place among the candidates of its group, from 1; by score, or by order of drawing when sampling.
        parent: index into the step's `beams`.
        token_id: the token it adds.
        logprob: the token's log-probability after the chain.
        total: running score with it.
        finish_reason: why it ends the text, or None.
        fate: "runs" (a beam of the next step), "banked" (a finished hypothesis) or "pruned".
        why: the reason of its fate, in words with numbers.
        becomes: index into the next step's `beams`, or None.
        group: which group considered it.
        forced: it was put forward by a forced word rather than by its score.
        bank: steps towards the forced words with it; None without forced words.
    """

    rank: int
    parent: int
    token_id: int
    logprob: float
    total: float
    finish_reason: FinishReason | None
    fate: Fate
    why: str
    becomes: int | None = None
    group: int = 0
    forced: bool = False
    bank: int | None = None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One finished continuation; score = total / length ** length_penalty.

    Attributes:
        ids: what was written, the end-of-text token included.
        total: sum of log-probabilities after the chain.
        length: tokens the score counts, the end-of-text token included.
        divisor: length ** length_penalty.
        score: what hypotheses are ranked by.
        finish_reason: why it ended.
        step: the step at which it was finished, from 0.
        group: which group finished it.
    """

    ids: tuple[int, ...]
    total: float
    length: int
    divisor: float
    score: float
    finish_reason: FinishReason
    step: int
    group: int = 0


@dataclass(frozen=True, slots=True)
class BeamStep:
    """One step of any beam search.

    Attributes:
        step: from 0.
        position: index, in the whole sequence, of the token being chosen.
        beams: the running beams before the step, best first within each group.
        candidates: all continuations considered, in order of rank within each group.
        bank: the finished hypotheses after the step, best first.
        best_possible: the score the best running beam is taken to be able to reach; None where not asked.
        worst_finished: the score it has to beat; None while the bank is not full.
        margin: the smallest gap in score that a decision of this step depended on; None where luck decided
            or there was none.
        stop: why the search ends after this step, or None.
        penalties: token id -> how often earlier groups chose it, for each group with a diversity penalty.
    """

    step: int
    position: int
    beams: tuple[Beam, ...]
    candidates: tuple[BeamCandidate, ...]
    bank: tuple[Hypothesis, ...]
    best_possible: float | None
    worst_finished: float | None
    margin: float | None
    stop: str | None
    penalties: tuple[tuple[tuple[int, int], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class ContrastiveRow:
    """One candidate of contrastive search; score = (1 - alpha) * p - alpha * cosine.

    Attributes:
        rank: by probability, from 1.
        token_id: the candidate.
        p: its probability after the chain, over the full vocabulary.
        cosine: the largest cosine of its hidden state with that of any earlier position.
        nearest: that position, in the whole sequence.
        score: what the candidates are ranked by.
        chosen: it was.
    """

    rank: int
    token_id: int
    p: float
    cosine: float
    nearest: int
    score: float
    chosen: bool


@dataclass(frozen=True, slots=True)
class ContrastiveStep:
    """One step of contrastive search.

    Attributes:
        step: from 0.
        position: index of the token being chosen.
        rows: the candidates, most likely first.
        margin: score of the best minus that of the second; None where there is no second.
        margin_top_k: probability of the last candidate minus that of the first left out; None where none was.
        finish_reason: why the text ends here, or None.
    """

    step: int
    position: int
    rows: tuple[ContrastiveRow, ...]
    margin: float | None
    margin_top_k: float | None
    finish_reason: FinishReason | None


@dataclass(frozen=True, slots=True)
class DolaStep:
    """One step of DoLa.

    Attributes:
        step: from 0.
        position: index of the token being chosen.
        divergences: (layer, Jensen-Shannon divergence from the last layer) of each candidate layer; the
            divergence is the mean over the vocabulary, as transformers takes it. None where only one layer
            was given, so that none was compared.
        layer: the layer contrasted.
        alive: tokens at least a tenth as likely as the best one in the last layer; all others are masked.
        token_id: the token chosen.
        final_logprob: its log-probability in the last layer.
        layer_logprob: its log-probability in the contrasted layer.
        contrast: final_logprob - layer_logprob.
        margin: score of the best token minus the runner-up's, after the chain.
        layer_margin: divergence of the layer minus the next largest; None with one layer.
        cut_margin: how near, in log-probability, any token lies to the one-tenth mark.
        finish_reason: why the text ends here, or None.
    """

    step: int
    position: int
    divergences: tuple[tuple[int, float | None], ...]
    layer: int
    alive: int
    token_id: int
    final_logprob: float
    layer_logprob: float
    contrast: float
    margin: float | None
    layer_margin: float | None
    cut_margin: float
    finish_reason: FinishReason | None


@dataclass(frozen=True, slots=True)
class Draft:
    """One drafted token and what the model made of it.

    Attributes:
        position: index in the whole sequence.
        token_id: the draft.
        verdict: "accepted", "rejected", or "unread" after a rejection or an end.
        p: its probability by the model, after the chain; None where it was not read.
        q: its probability by the assistant, after the chain; None without an assistant.
        ratio: p / q where a draw decides acceptance, else None.
        draw: the uniform number of that decision, else None.
        wanted: the model's own choice at this position, where the verdict is a comparison; else None.
        margin: score of the model's best token minus its runner-up's, after the chain: below the tolerance
            of arithmetic, drafting and plain decoding may part here.
    """

    position: int
    token_id: int
    verdict: Verdict
    p: float | None
    q: float | None
    ratio: float | None
    draw: float | None
    wanted: int | None
    margin: float | None


@dataclass(frozen=True, slots=True)
class DraftStep:
    """One round of drafting and verifying.

    Attributes:
        step: from 0.
        position: index of the round's first token.
        drafts: the drafted tokens, in order; empty where none could be found.
        written: ids written in this round: the accepted drafts, then one token of the model's own.
        bonus: how that last token came about: "next" (all drafts accepted), "residual" (drawn from what the
            model wants more than the assistant), "correction" (the model's own choice), or None where the
            text ended with a draft.
        budget: how many tokens might have been drafted.
        source: (start, stop) of the positions the drafts were copied from; None with an assistant.
        ngram: how many last ids were found again there; None with an assistant.
        finish_reason: why the text ends here, or None.
    """

    step: int
    position: int
    drafts: tuple[Draft, ...]
    written: tuple[int, ...]
    bonus: Literal["next", "residual", "correction"] | None
    budget: int
    source: tuple[int, int] | None
    ngram: int | None
    finish_reason: FinishReason | None

    @property
    def accepted(self) -> int:
        """How many drafts were accepted."""
        return sum(draft.verdict == "accepted" for draft in self.drafts)


SearchStep = BeamStep | ContrastiveStep | DolaStep | DraftStep
