"""What a result looks like before anybody draws it: its numbers and tokens as blocks of short strings.

The only layout logic: `terminal` and `html` draw these blocks and decide nothing about numbers or text.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
from math import inf

import numpy as np

from tokenglass.text import safe_line, safe_prose, safe_text
from tokenglass.types import (
    Account,
    Candidate,
    Chain,
    EngineInfo,
    Generation,
    NextTokens,
    Sequence,
    Shown,
    Step,
    Token,
    Tokenization,
)
from tokenglass.types.searching import SearchRecords
from tokenglass.views import rows
from tokenglass.views.blocks import WRITTEN, Block, Column, Line, Piece, Prose, Row, Strip, Table
from tokenglass.views.candidates import (
    ID,
    MEASURE,
    P_FINAL,
    TOKEN,
    P,
    candidate_table,
    changed,
    next_table,
    step_table,
    tints,
)
from tokenglass.views.chains import chain_blocks
from tokenglass.views.figures import bits, choices, count, percent, significant
from tokenglass.views.searches import records_blocks, search_blocks
from tokenglass.views.stages import account_blocks, stage_blocks

ENDLESS = 1 << 62  # a context length that nobody told


@singledispatch
def blocks(result: Shown) -> tuple[Block, ...]:
    """The blocks that show a result, from top to bottom."""
    raise TypeError(f"no layout for a {type(result).__name__}")


@blocks.register
def _(result: Tokenization) -> tuple[Block, ...]:
    if not result.tokens:
        return (Line(token_facts(result), "facts"),)
    strip = Strip(tuple(Piece(t.text, hint=f"id {t.id}") for t in result.tokens))
    return (Line(token_facts(result), "facts"), strip, _token_table(result.tokens))


def token_facts(result: Tokenization) -> str:
    """How long a text is in tokens, characters and bytes."""
    n_bytes = len(result.text.encode("utf-8", "surrogatepass"))
    facts = [count(len(result.tokens), "token"), count(len(result.text), "character"), count(n_bytes, "byte")]
    if lost := _lost_bytes(result.tokens, n_bytes):
        facts.append(f"{count(lost, 'byte')} left out: the vocabulary has no token for {_them(lost)}")
    return " · ".join(facts)


def _lost_bytes(tokens: tuple[Token, ...], n_bytes: int) -> int:
    """Bytes of a text that no token spells and no span covers: some vocabularies lack some bytes."""
    placed = [token for token in tokens if token.span is not None]
    spelled = sum(len(token.bytes) for token in placed)
    covered = end = 0
    for span in sorted(token.span for token in placed if token.span is not None):
        covered += max(0, span[1] - max(end, span[0]))
        end = max(end, span[1])
    return max(0, n_bytes - max(spelled, covered))


def _them(n: int) -> str:
    return "it" if n == 1 else "them"


def token_strip(tokens: Iterable[Token], written_from: int | None = None) -> Strip:
    """Tokens side by side with their ids below; those from index `written_from` on stand out."""
    first = inf if written_from is None else written_from
    pieces = [Piece(t.text, "chosen" if i >= first else "", below=str(t.id)) for i, t in enumerate(tokens)]
    return Strip(tuple(pieces), written_from)


def _token_table(tokens: tuple[Token, ...]) -> Table:
    notes = _notes(tokens)
    columns = (
        Column("index", "#", "right", keep=5),
        Column("id", "id", "right"),
        Column("span", "bytes", "right", keep=2),
        TOKEN,
    )
    table_rows = [
        Row(
            {
                "index": str(index),
                "id": str(token.id),
                "span": "–" if token.span is None else f"{token.span[0]}–{token.span[1]}",
                "token": token.text,
                "note": note,
            }
        )
        for index, (token, note) in enumerate(zip(tokens, notes, strict=True))
    ]
    return Table(columns, tuple(table_rows))


def _notes(tokens: tuple[Token, ...]) -> list[str]:
    """What is special about each token: its kind, or the character that its bytes are a part of."""
    notes = ["" if token.kind == "normal" else token.kind for token in tokens]
    ends = np.cumsum([len(token.bytes) for token in tokens]).tolist() if tokens else []
    data = b"".join(token.bytes for token in tokens)
    for index, token in enumerate(tokens):
        parts = _split_characters(data, ends[index] - len(token.bytes), ends[index])
        if parts:
            notes[index] = f"part of {safe_text(parts)}"
    return notes


def _split_characters(data: bytes, start: int, end: int) -> str:
    """The well-formed characters of `data` that [start, end) holds some but not all bytes of."""
    found = []
    for edge in {start, end}:
        first = edge
        while first > max(0, edge - 4) and first < len(data) and data[first] & 0xC0 == 0x80:
            first -= 1
        size = {0xC: 2, 0xD: 2, 0xE: 3, 0xF: 4}.get(data[first] >> 4, 1) if first < len(data) else 1
        if first < edge < first + size:
            try:
                found.append((first, data[first : first + size].decode()))
            except UnicodeDecodeError:
                continue
    return "".join(character for _, character in sorted(set(found)))


@blocks.register
def _(result: NextTokens) -> tuple[Block, ...]:
    return (*next_blocks(result), *_chain_of(result))


def _chain_of(result: NextTokens | Step) -> tuple[Block, ...]:
    """The table of the stages, where there were any."""
    return stage_blocks(result) if len(result.stages) > 1 else ()


def next_blocks(result: NextTokens, extra: Iterable[Candidate] = ()) -> tuple[Block, ...]:
    """What a next-token table is about, and the table; `extra` are candidates that were looked up."""
    after = b"".join(result.vocabulary.token(i).bytes for i in result.prompt_ids[-32:])
    facts = [
        count(len(result.logits), "candidate"),
        *_uncertainty(result),
    ]
    if result.coverage < 1.0:
        facts.append(f"only {percent(result.coverage)} of the probability is known")
    heading = Line("next token after ", "heading", tail=safe_text(after))
    return (heading, Line(" · ".join(facts), "facts"), next_table(result, extra))


def _uncertainty(result: NextTokens) -> list[str]:
    entropy, bounds = result.entropy_bits, result.entropy_bounds
    if entropy is None:
        known = 0 if result.listing is None else len(result.listing.ids)
        return [f"the likeliest {known:,} listed", bits(None, bounds)]
    return [bits(entropy), choices(float(2.0**entropy))]


@blocks.register
def _(result: Step) -> tuple[Block, ...]:
    entropy = bits(result.entropy_bits, result.entropy_bounds)
    facts = [f"position {result.position}", entropy, result.origin]
    if result.finish_reason:
        facts.append(f"finish reason: {result.finish_reason}")
    return (
        Line(rows.why(result), "sentence"),
        Line(" · ".join(facts), "facts"),
        step_table(result),
        *_chain_of(result),
    )


blocks.register(Account)(account_blocks)
blocks.register(Chain)(chain_blocks)
blocks.register(SearchRecords)(records_blocks)


@blocks.register
def _(result: Candidate) -> tuple[Block, ...]:
    return (candidate_table(result),)


@blocks.register
def _(result: Sequence) -> tuple[Block, ...]:
    return (_prose("", result), Line(written_facts(result), "facts"), steps_table(result.steps))


@blocks.register
def _(result: Generation) -> tuple[Block, ...]:
    several = len(result.sequences) > 1
    found: list[Block] = [Line(f"warning: {safe_line(text)}", "sentence") for text in result.warnings]
    if result.healing is not None:
        found.append(Line(f"end of the prompt healed: {result.healing.summary}", "sentence"))
    prose = _prose(safe_prose(result.prompt_text), result.sequences[0])
    sign = f"{WRITTEN} " if prose.has_border else ""  # what it means in the text above
    found += [prose, Line(sign + written_facts(result.sequences[0]), "facts")]
    if several:
        found += [Line(f"{len(result.sequences)} texts", "heading"), _sequences_table(result.sequences)]
        found.append(Line("steps of the first text", "heading"))
    found.append(steps_table(result.steps))
    return (*found, *search_blocks(result))


def _sequences_table(sequences: tuple[Sequence, ...]) -> Table:
    """One row for each text: its score, its length, why it ended, what it says."""
    scored = any(sequence.score is not None for sequence in sequences)
    columns = (
        Column("rank", "#", "right"),
        *((Column("score", "score", "point", keep=8),) if scored else ()),
        Column("length", "tokens", "right", keep=4),
        Column("reason", "finish reason", keep=5),
        Column("token", "text"),
    )
    table_rows = [
        Row(
            {
                "rank": str(number),
                "score": "–" if sequence.score is None else significant(sequence.score, 5),
                "length": f"{len(sequence.ids):,}",
                "reason": sequence.finish_reason,
                "token": safe_line(sequence.text),
            }
        )
        for number, sequence in enumerate(sequences, start=1)
    ]
    return Table(columns, tuple(table_rows))


def _prose(prompt: str, sequence: Sequence) -> Prose:
    text = safe_prose(sequence.text, after=prompt)
    pieces, shown = [], prompt
    for step in sequence.steps:
        piece = safe_prose(step.text, after=shown)
        shown += piece
        hint = f"{step.token.text} · {percent(step.p)} · rank {_rank(step)} · {_entropy(step)}"
        pieces.append(Piece(piece, p=step.p, hint=hint))
    return Prose(prompt, text, tuple(pieces) if shown == prompt + text else ())


def written_facts(sequence: Sequence) -> str:
    """How many tokens were written and why they end."""
    kept = ", which is kept in the text" if sequence.finish_reason == "stop_string" else ""
    facts = [f"{count(len(sequence.ids), 'new token')}", f"finish reason: {sequence.finish_reason}{kept}"]
    if sequence.score is not None:
        facts.append(f"score {significant(sequence.score, 5)}")
    return " · ".join(facts)


def steps_table(steps: tuple[Step, ...]) -> Table:
    """One row for each token that was written; bars as in a next-token table."""
    chain = changed(steps)
    columns = (
        Column("position", "#", "right", keep=5),
        ID,
        Column("entropy", "entropy", "point", keep=2),
        Column("rank", "rank", "right", keep=6),
        P,
        *((P_FINAL,) if chain else ()),
        TOKEN,
    )
    table_rows = [
        Row(
            {
                "position": str(step.position),
                "id": str(step.id),
                "entropy": _entropy(step),
                "rank": _rank(step),
                "p": percent(step.p),
                "p_final": percent(step.p_final),
                "token": step.token.text,
            },
            step.p_final if chain else step.p,
            tints=tints(p=step.p, p_final=step.p_final),
        )
        for step in steps
    ]
    return Table(columns, tuple(table_rows), bars=True, measure=MEASURE if chain else "")


def _engine(info: EngineInfo) -> str:
    if info.peer:
        return f"{info.engine}, which computes with a precision of its own"
    return f"{info.engine}, {info.precision}, {count(info.threads, 'thread')}"


def _rank(step: Step) -> str:
    return "unknown" if step.rank is None else f"{step.rank:,}"


def _entropy(step: Step) -> str:
    return bits(step.entropy_bits, step.entropy_bounds)


@blocks.register
def _(result: EngineInfo) -> tuple[Block, ...]:
    facts = {
        "model": f"{result.name} ({result.family})",
        "engine": _engine(result),
        "parameters": "unknown" if result.peer and not result.parameters else f"{result.parameters:,}",
        "vocabulary": count(result.vocab_size, "token"),
        "context": "unknown" if result.context_length >= ENDLESS else count(result.context_length, "token"),
        "layers": f"{result.layers} of width {result.hidden_size}" if result.layers else "",
        "ends with": ", ".join(map(str, result.eos_ids)),
        "weights": result.weights,
        "sha256": result.sha256,
        "can also": ", ".join(sorted(result.capabilities)),
        "the server": ", ".join(f"{name}: {said}" for name, said in result.peer.items()),
        "file": result.source,
    }
    columns = (Column("name", ""), Column("token", ""))
    table_rows = tuple(
        Row({"name": name, "token": safe_line(value)}) for name, value in facts.items() if value
    )
    return (Table(columns, table_rows),)
