"""Why a token was written: one sentence made of a step's numbers.

Knows what steps hold; every number in a sentence is one of the step's own.
"""

from __future__ import annotations

from math import floor, log10

import numpy as np

from tokenglass.text import safe_line
from tokenglass.types import Candidate, Removal, Step
from tokenglass.views.figures import differ, ordinal, percent, significant

NEAR_TIE = 0.05  # in logits: below it the two probabilities differ by less than 5 %
_ENDINGS = {
    "eos": "; it ends the text.",
    "length": "; then the number of tokens asked for was reached.",
    "stop_string": "; it completes a stop string, which is kept in the text.",
    "time": "; then the time was up.",
    "context": "; then the model's context was full.",
    "grammar": "; with it the grammar is complete and allows nothing more.",
    "cancelled": "; then the run was stopped.",
}


def why(step: Step) -> str:
    """One sentence, made of the step's numbers, that says why its token was written."""
    sentence = _CAUSES[step.origin](step)
    return sentence + _ENDINGS.get(step.finish_reason or "", ".")


def fallen(removal: Removal) -> str:
    """How a token left the chain.

    >>> fallen(Removal("top_p", 7, 0.031)), fallen(Removal("model", None, 0.0))
    ('removed by top_p at rank 7, was 3.10 %', 'ruled out by the model itself')
    """
    if removal.stage == "model":
        return "ruled out by the model itself"
    place = "" if removal.rank is None else f" at rank {removal.rank:,}"
    return f"removed by {safe_line(removal.stage)}{place}, was {percent(removal.p)}"


def _why_greedy(step: Step) -> str:
    name, rival = step.token.text, _rival(step)
    if not _is_best(step):
        return _why_searched(step)
    if step.rank == 1:
        second = _runner_up(step)
        changed = second is not None and rival is not None and second.id != rival.id
        if changed:  # the chain brought another token near
            assert second is not None
            after = f"{percent(step.p_final)} after the chain, ahead of {second.token.text} with "
            return f"{name} was the likeliest token: {after}{percent(second.p_final)}{_closeness(step)}"
        ahead = f", ahead of {rival.token.text} with {percent(rival.p)}" if rival else ""
        return f"{name} was the likeliest token: {percent(step.p)}{ahead}{_closeness(step)}"
    return (
        f"{name} was the likeliest token after the chain ({percent(step.p_final)}); "
        f"{_own_rank(step)}"
        f"{_favourite_lost(step, demoted=True)}{_closeness(step)}"
    )


def _own_rank(step: Step) -> str:
    if step.rank is None:
        return "the server did not list it among the model's likeliest"
    return f"the model itself ranked it {ordinal(step.rank)} with {percent(step.p)}"


def _runner_up(step: Step) -> Candidate | None:
    """The likeliest other token after the chain, as far as the step remembers."""
    others = [row for row in step.top if row.id != step.id and _final(row) > 0.0]
    return max(others, key=_final, default=None)


def _final(row: Candidate) -> float:
    """Probability after the chain, to compare by: of two that a server leaves unknown, neither is larger."""
    return 0.0 if row.p_final is None else row.p_final


def _is_best(step: Step) -> bool:
    """Whether no token was likelier after the chain; up to the rounding of stored probabilities."""
    if step.p_final is None or not len(step.top_final) or not np.isfinite(step.top_final).any():
        return True  # nothing is known that speaks against it
    return step.p_final >= float(np.nanmax(step.top_final)) * (1.0 - 1e-6)


def _why_searched(step: Step) -> str:
    rival = max((row for row in step.top if row.id != step.id), key=_final)
    after = " after the chain" if differ(rival.p_final, rival.p) else ""
    return (
        f"{step.token.text} was the search's choice: {_by_the_model(step)}; "
        f"by itself {rival.token.text} was likelier there ({percent(rival.p_final)}{after})"
    )


def _why_sampled(step: Step) -> str:
    name = step.token.text
    how = f"{name} was drawn by chance"
    if step.draw is not None and step.cdf is not None:
        low, high = step.cdf
        digits = _digits(high - low)
        same = step.p_final is not None and abs(high - low - step.p_final) < 5e-4
        drawn_from = "" if same else " in what was drawn from"
        how = (
            f"The draw {step.draw:.{digits}f} fell between {low:.{digits}f} and {high:.{digits}f}, "
            f"the share of {name}{drawn_from}"
        )
    return (
        f"{how}: {_by_the_model(step)}, {percent(step.p_final)} after the chain"
        f"{_favourite_lost(step, demoted=False)}"
    )


def _digits(cell: float) -> int:
    """Decimals that tell a cell's two ends apart, at least four."""
    return min(12, max(4, 1 - floor(log10(cell)))) if cell > 0.0 else 12


def _why_forced(step: Step) -> str:
    rival = _rival(step)
    first = (
        f", whose first choice was {rival.token.text} ({percent(rival.p)})"
        if rival and step.rank != 1
        else ""
    )
    return f"{step.token.text} was put there by hand: {_by_the_model(step)}{first}"


def _why_draft(step: Step) -> str:
    return f"{step.token.text} was guessed ahead and accepted: {_by_the_model(step)}"


def _why_expanded(step: Step) -> str:
    after = f", {percent(step.p_final)} after the chain" if differ(step.p_final, step.p) else ""
    return f"{step.token.text} was unfolded to look ahead: {_by_the_model(step)}{after}"


_CAUSES = {
    "greedy": _why_greedy,
    "sampled": _why_sampled,
    "forced": _why_forced,
    "draft": _why_draft,
    "expanded": _why_expanded,
}


def _favourite_lost(step: Step, *, demoted: bool) -> str:
    """What became of the model's favourite where a stage removed it or, if asked for, pushed it down."""
    if not step.top or step.top[0].id == step.id:
        return ""
    favourite = step.top[0]
    who = f"; the model's favourite {favourite.token.text}"
    removal = step.removed.get(favourite.id)
    if removal is not None:
        return f"{who} ({percent(favourite.p)}) was {fallen(removal)}"
    if demoted and (fall := _largest_fall(step)) is not None:
        stage, before, after = fall
        return f"{who} fell from {percent(before)} to {percent(after)} at {safe_line(stage)}"
    return ""


def _largest_fall(step: Step) -> tuple[str, float, float] | None:
    """(stage, p before, p after) where the model's favourite lost most; None where it never lost."""
    if step.trail is None or len(step.trail) != len(step.stages) or len(step.trail) < 2:
        return None
    p = step.trail[:, 0].astype(np.float64)
    index = int(np.argmin(np.diff(p)))
    if p[index + 1] >= p[index]:
        return None
    return step.stages[index + 1].name, float(p[index]), float(p[index + 1])


def _by_the_model(step: Step) -> str:
    if step.rank is None:
        bound = "" if step.p_at_most is None else f", so at most {percent(step.p_at_most)} by the model"
        return f"not among the tokens that the server lists{bound}"
    place = "the likeliest" if step.rank == 1 else f"{ordinal(step.rank)} likeliest"
    return f"{place} by the model ({percent(step.p)})"


def _rival(step: Step) -> Candidate | None:
    """The likeliest other token by the model's own numbers."""
    return next((row for row in step.top if row.id != step.id), None)


def _closeness(step: Step) -> str:
    return f" (a near tie: {significant(step.margin)} in logits)" if step.margin < NEAR_TIE else ""
