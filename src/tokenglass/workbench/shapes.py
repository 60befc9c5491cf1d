"""What each operation answers, as JSON Schema: for the OpenAPI document, and for tests of the answers.

Rows of the library are closed: a field that is not named here is a mistake, here or there. A number that JSON
cannot hold is null, and `<name>_nonfinite` beside it says which it was.
"""

from __future__ import annotations

from tokenglass.workbench.params import JsonDict

TEXT: JsonDict = {"type": "string"}
FLAG: JsonDict = {"type": "boolean"}
WHOLE: JsonDict = {"type": "integer"}
NUMBER: JsonDict = {"type": ["number", "null"]}
SHARE: JsonDict = {"type": "number", "minimum": 0, "maximum": 1.0000001}  # sums of float64 may round up
OPEN: JsonDict = {"type": "object"}
ANY: JsonDict = {}


def maybe(shape: JsonDict) -> JsonDict:
    """The shape, or null."""
    return {"anyOf": [shape, {"type": "null"}]}


def many(shape: JsonDict) -> JsonDict:
    """A list of the shape."""
    return {"type": "array", "items": shape}


def row(optional: JsonDict | None = None, /, **fields: JsonDict) -> JsonDict:
    """An object with these fields, perhaps the optional ones, and no other."""
    return {
        "type": "object",
        "properties": {**(optional or {}), **fields},
        "patternProperties": {"_nonfinite$": TEXT},
        "required": list(fields),
        "additionalProperties": False,
    }


def each(names: str, shape: JsonDict) -> dict[str, JsonDict]:
    """The same shape under several names."""
    return {name: shape for name in names.split()}


def also(shape: JsonDict, optional: JsonDict | None = None, /, **fields: JsonDict) -> JsonDict:
    """A row with more fields."""
    own = {name: shape["properties"][name] for name in shape["required"]}
    others = {name: s for name, s in shape["properties"].items() if name not in own}
    return row({**others, **(optional or {})}, **own, **fields)


# ------------------------------------------------------------------------------------------- what rows share

_NAMED = {"id": WHOLE, **each("token bytes kind", TEXT)}
_SPAN = {"type": "array", "items": WHOLE, "minItems": 2, "maxItems": 2}
GROUP = row(first=WHOLE, last=WHOLE, token=TEXT)
TOKEN = row(**_NAMED)
CUT_TOKEN = row(index=WHOLE, **_NAMED, span=maybe(_SPAN), group=maybe(GROUP))
REMOVAL = row(stage=TEXT, rank=maybe(WHOLE), p=SHARE)
_CANDIDATE = {"rank": WHOLE, **_NAMED, **each("logit logprob", NUMBER), "p": SHARE, "p_final": SHARE}
CANDIDATE = row(**_CANDIDATE, removed_by=maybe(TEXT))
SHOWN = row({"trail": many(SHARE)}, **_CANDIDATE, removed_by=maybe(TEXT), removed=maybe(REMOVAL))
STAGE = row(
    **each("name", TEXT),
    params=OPEN,
    **each("alive argmax removed changed", WHOLE),
    mass_kept=SHARE,
    entropy_bits=NUMBER,
    facts=OPEN,
    argmax_token=maybe(TEXT),
)
EFFECT = row(stage=TEXT, score=NUMBER, p=SHARE, rank=maybe(WHOLE))
ACCOUNT = row(**_NAMED, effects=many(EFFECT), removed=maybe(REMOVAL), fate=TEXT)
_CELL = maybe(many(NUMBER))
_STEP = {
    "position": WHOLE,
    **_NAMED,
    "text": TEXT,
    **each("logit logprob entropy_bits margin draw", NUMBER),
    "p": SHARE,
    "p_final": SHARE,
    "rank": WHOLE,
    "origin": TEXT,
    "cdf": _CELL,
    "finish_reason": maybe(TEXT),
}
LIGHT_STEP = row(**_STEP)
STEP = row({"tail": ANY}, **_STEP, why=TEXT, logsumexp=NUMBER, top=many(SHOWN), stages=many(STAGE))
TABLE = row(
    **each("position vocab_size rest_n", WHOLE),
    prompt_ids=many(WHOLE),
    **each("entropy_bits effective_choices", NUMBER),
    **each("coverage rest_p rest_p_final", SHARE),
    rows=many(SHOWN),
    stages=many(STAGE),
    config=OPEN,
)
PICK = row(id=WHOLE, token=TEXT, p_final=SHARE, origin=TEXT, draw=NUMBER, cdf=_CELL)
CELL = row(id=WHOLE, token=TEXT, start=SHARE, end=SHARE)
NEXT = also(TABLE, pick=maybe(PICK), refused=maybe(TEXT), draw_preview=maybe(many(CELL)))
CHAIN_STAGE = row(name=TEXT, params=OPEN, sources=OPEN, paper=TEXT)
_CHAIN = {"mode": TEXT, "preset": TEXT, "stages": many(CHAIN_STAGE), "selection": CHAIN_STAGE}
_NODE_STEP = {name: shape for name, shape in _STEP.items() if name != "position"}
NODE = row(
    {**_NODE_STEP, "position": WHOLE},
    **each("node config count depth", WHOLE),
    parent=maybe(WHOLE),
    name=TEXT,
    notes=many(TEXT),
    text_logprob=NUMBER,
    on_path=FLAG,
    ended=FLAG,
)
TEXT_TOKEN = row(
    NODE["properties"],
    position=WHOLE,
    **_NAMED,
    group=maybe(GROUP),
    is_prompt=FLAG,
    template=maybe(FLAG),
    node=WHOLE,
    **each("logprob p surprisal_bits rank entropy_bits p_final draw", NUMBER),
    origin=maybe(TEXT),
)
STATE = row(
    {"before": TABLE},
    **each("session model text", TEXT),
    node=WHOLE,
    tokens=many(TEXT_TOKEN),
    next=NEXT,
    last=maybe(STEP),
    **each("can_undo can_redo", FLAG),
    **each("redo_token finish_reason", maybe(TEXT)),
    config=row(given=OPEN, effective=OPEN, sources=OPEN, no_effect=many(TEXT), warnings=many(TEXT)),
    chain=row(**_CHAIN),
    tree=row(**each("revision n_nodes", WHOLE), since=maybe(WHOLE), nodes=many(NODE), gone=many(WHOLE)),
    step_ms={"type": "number", "minimum": 0},
)
SEQUENCE = row(text=TEXT, ids=many(WHOLE), finish_reason=TEXT, score=NUMBER, steps=many(LIGHT_STEP))
GENERATION = row(
    **each("prompt_text text finish_reason", TEXT),
    **each("prompt_ids ids", many(WHOLE)),
    sequences=many(SEQUENCE),
    config=OPEN,
    warnings=many(TEXT),
    healing=maybe(OPEN),
)
RECORD = {
    "type": "object",
    "properties": {"kind": {"enum": ["beam", "contrastive", "dola", "draft"]}, "step": WHOLE, "tokens": OPEN},
    "required": ["kind", "step", "position", "tokens"],
}
_SCORE_ROW = row(
    index=WHOLE,
    **_NAMED,
    **each("logprob p surprisal_bits rank entropy_bits context", NUMBER),
    band=maybe(TEXT),
    top=many(CANDIDATE),
)
SCORE = row(
    text=TEXT,
    **each("n_tokens n_scored n_bytes", WHOLE),
    **each("first_scored window stride least_context", maybe(WHOLE)),
    **each("coverage bits perplexity bits_per_byte", NUMBER),
    bands=OPEN,
)
OPTION = row(
    text=TEXT,
    logprobs=many(NUMBER),
    **each("logprob p mean_logprob logprob_per_byte share mean_share", NUMBER),
    notes=many(TEXT),
    tokens=many(TOKEN),
)
STRATEGY = row(
    **each("name reason why", TEXT),
    keywords=OPEN,
    seconds=NUMBER,
    parting=maybe(row(index=WHOLE, own=maybe(WHOLE), greedy=maybe(WHOLE))),
    generation=maybe(GENERATION),
)
SIDE = row(model=TEXT, precision=TEXT, sha256=TEXT, keywords=OPEN, generation=GENERATION)
_LEAF = {"node": WHOLE, "ids": many(WHOLE), "text": TEXT, "finish_reason": maybe(TEXT), "p": SHARE}
FILE = row(name=TEXT, media_type=TEXT, text=TEXT)
_POINTS = many({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2})
_CODE = {"code": TEXT, "tokenglass_code": TEXT}

# --------------------------------------------------------------------------------------------------- answers

_SHOWN_BYTES = each("token bytes", TEXT)
_PIECE = row(token=TEXT, span=_SPAN)
_MERGE = row(**_SHOWN_BYTES, **each("left right", row(**_SHOWN_BYTES)), index=WHOLE, rank={"type": "number"})
_WORD = row(
    token=TEXT,
    span=_SPAN,
    symbols=many(row(**_SHOWN_BYTES)),
    merges=maybe(many(_MERGE)),
    ids=many(WHOLE),
)
_FACTS = {
    "info": row(
        version=TEXT,
        model=OPEN,
        models=many(TEXT),
        has_chat_template=FLAG,
        default_prompt=TEXT,
        keywords=many(OPEN),
        presets=many(TEXT),
        strategies=many(row(name=TEXT, keywords=OPEN)),
        limits=OPEN,
        operations=many(row(name=TEXT, **each("streams supported", FLAG))),
    ),
    "tokenize": row(text=TEXT, n_tokens=WHOLE, ids=many(WHOLE), tokens=many(CUT_TOKEN)),
    "words": row(text=TEXT, n_bytes=WHOLE, **each("characters words", many(_PIECE)), tokens=many(CUT_TOKEN)),
    "merges": row(text=TEXT, kind=TEXT, order={"enum": ["place", "score"]}, words=many(_WORD)),
    "align": row(
        text=TEXT,
        **each("a b", row(name=TEXT, **each("vocab_size n_tokens", WHOLE), tokens=many(CUT_TOKEN))),
        blocks=many(row(span=_SPAN, **each("a b", many(WHOLE)))),
    ),
    "train": row(
        **each("n_bytes asked vocab_size n_tokens n_tokens_model", WHOLE),
        merges=many(row(**_SHOWN_BYTES, **each("left right", row(**_SHOWN_BYTES)), count=WHOLE)),
        same=FLAG,
        sha256=many(TEXT),
    ),
    "close": row(),
    "stop": row(),
}
_STATES = {
    **each("open state step undo redo goto set name note", STATE),
    "prune": also(STATE, pruned=WHOLE),
    "expand": also(
        STATE,
        expansion=row(node=WHOLE, covered=SHARE, n_new=WHOLE, stopped=TEXT, leaves=many(row(**_LEAF))),
    ),
    "sample": also(
        STATE, samples=row(node=WHOLE, n=WHOLE, n_new=WHOLE, leaves=many(row(**_LEAF, count=WHOLE)))
    ),
    "play": also(STATE, paused=TEXT, reason=TEXT, seen=maybe(CANDIDATE)),
    "load": {"anyOf": [STATE, row(upload=TEXT)]},
}
_QUESTIONS = {
    "at": row(position=WHOLE, next=TABLE, came=maybe(CANDIDATE)),
    "lookup": row(row=CANDIDATE, account=ACCOUNT),
    "curve": row(
        vocab_size=WHOLE,
        entropy_bits=NUMBER,
        points=_POINTS,
        final=maybe(_POINTS),
        cuts=many(row(stage=TEXT, params=OPEN, alive=WHOLE, rank=maybe(WHOLE), p=NUMBER, is_prefix=FLAG)),
    ),
    "chain": row(
        {"records": many(STAGE), "accounts": many(ACCOUNT)},
        **_CHAIN,
        config=OPEN,
        sources=OPEN,
        **each("no_effect warnings", many(TEXT)),
        **_CODE,
    ),
    "surprisal": row(
        rows=many(row(position=WHOLE, **each("logprob p rank entropy_bits surprisal_bits", NUMBER)))
    ),
    "options": row(
        prompt_text=TEXT,
        prompt_ids=many(WHOLE),
        p=NUMBER,
        groups=many(row(name=TEXT, texts=many(TEXT), p=NUMBER, share=NUMBER)),
        rows=many(OPTION),
    ),
    "compare": row(
        **each("kind basis outcomes scope why", TEXT),
        outcomes_n=WHOLE,
        agreement=NUMBER,
        positions=many(OPEN),
        parting=maybe(OPEN),
        a=SIDE,
        b=SIDE,
    ),
}
_TEXTS = {
    **each("generate film", GENERATION),
    "strategies": row(prompt_text=TEXT, prompt_ids=many(WHOLE), config=OPEN, strategies=many(STRATEGY)),
    "score": SCORE,
    **each("save export", FILE),
}
# Operation -> its answer; of a stream its end.
ANSWERS: dict[str, JsonDict] = {**_FACTS, **_STATES, **_QUESTIONS, **_TEXTS}
# Operation that streams -> its items.
ITEMS: dict[str, JsonDict] = {
    "play": row(node=WHOLE, step=STEP, next=NEXT),
    "generate": {"anyOf": [row(sample=WHOLE, step=STEP), RECORD]},
    "film": RECORD,
    "strategies": {
        "anyOf": [
            row(
                strategy=TEXT,
                settled=FLAG,
                token=row(**_NAMED, text=TEXT, p=SHARE, p_final=SHARE, rank=WHOLE, entropy_bits=NUMBER),
            ),
            row(strategy=TEXT, settled=FLAG, best=TEXT),
        ]
    },
    "score": row(n_done=WHOLE, n_tokens=WHOLE, rows=many(_SCORE_ROW)),
}
