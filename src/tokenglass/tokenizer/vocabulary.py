"""A GGUF file's own vocabulary, as plain values: what the `tokenizer.ggml.*` keys say, checked.

Knows the keys and llama.cpp's defaults for those that are missing; how text becomes ids is `schemes`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenglass.errors import ModelDamaged, ModelUnsupported
from tokenglass.text import safe_text
from tokenglass.tokenizer.splitting import RULES

FORMAT = "tokenglass.vocabulary/1"
SCORED, BYTE_LEVEL = "llama", "gpt2"  # the values of tokenizer.ggml.model that are supported


class TokenType(IntEnum):
    """What `tokenizer.ggml.token_type` says of a token."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


# Tokens that llama.cpp takes for control tokens by their names, whatever type the file gives them
# (src/llama-vocab.cpp, "control-looking token"): those that end a text ...
_END_NAMES = (
    "<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|calls|> <|flush|> <end_of_turn> <|endoftext|> </s> "
    "<|eom_id|> <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response> "
    "<｜end▁of▁sentence｜> [e~[ <|ifm|im_end|>"
)
# ... and those for filling gaps in code, unless the file names the token for that purpose.
_FILL_NAMES = {
    ("fim_pre", "prefix"): "<|fim_prefix|> <fim-prefix> <fim_prefix> <｜fim▁begin｜> <PRE> ▁<PRE> "
    "<|code_prefix|> <|prefix|> <|plamo:fim_prefix|>",
    ("fim_suf", "suffix"): "<|fim_suffix|> <fim-suffix> <fim_suffix> <｜fim▁hole｜> <SUF> ▁<SUF> "
    "<|code_suffix|> <|suffix|> <|plamo:fim_suffix|>",
    ("fim_mid", "middle"): "<|fim_middle|> <fim-middle> <fim_middle> <｜fim▁end｜> <MID> ▁<MID> "
    "<|code_middle|> <|middle|> <|plamo:fim_middle|>",
    ("fim_pad",): "<|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD]",
    ("fim_rep",): "<|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame>",
    ("fim_sep",): "<|file_sep|> <|plamo:file_separator|>",
}
# ... and tokens it always shows, for the sake of gpt-oss.
_SHOWN_NAMES = frozenset({"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"})
_ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "sep": "seperator", "pad": "padding", "mask": "mask"}
_SCORED_ROLES = {"bos": 1, "eos": 2, "unk": 0}  # where a SentencePiece vocabulary does not say


@dataclass(frozen=True)
class GgufVocabulary:
    """What a GGUF file says about its tokens.

    Attributes:
        model: "gpt2" (byte-level BPE) or "llama" (SentencePiece, merges by score).
        rule: name of the rule that cuts text into words; "" for SentencePiece.
        tokens: id -> the token in the vocabulary's alphabet.
        merges: pairs "left right", best first.
        scores: id -> score; empty for byte-level BPE.
        types: id -> type, for every token that is not NORMAL.
        roles: "bos", "eos", "unk", "sep", "pad", "mask" -> id.
        add_bos, add_eos: whether a text gets them.
        add_space_prefix: whether a text gets a space in front.
        strips_after_special: white space after a special token is dropped (Phi-3).
        name: of the model.
        chat_template: jinja source, or None.
    """

    model: str
    rule: str
    tokens: list[str] = field(repr=False)
    merges: list[str] = field(repr=False, default_factory=list)
    scores: list[float] = field(repr=False, default_factory=list)
    types: dict[int, int] = field(repr=False, default_factory=dict)
    roles: dict[str, int] = field(default_factory=dict)
    add_bos: bool = False
    add_eos: bool = False
    add_space_prefix: bool = False
    strips_after_special: bool = False
    name: str = ""
    chat_template: str | None = None

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token in the vocabulary's alphabet -> id."""
        return dict(zip(self.tokens, range(len(self.tokens)), strict=True))

    def token_type(self, token_id: int) -> int:
        """The `TokenType` of an id."""
        return self.types.get(token_id, TokenType.NORMAL)

    def to_json(self) -> str:
        """As one JSON document, which loads several times faster than the GGUF it came from."""
        document = {"format": FORMAT} | {entry.name: getattr(self, entry.name) for entry in fields(self)}
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        try:
            text.encode()
        except UnicodeEncodeError:  # a token that is no UTF-8 stands as lone surrogates
            text = json.dumps(document, separators=(",", ":"))
        return text

    @classmethod
    def from_json(cls, text: str) -> GgufVocabulary:
        """The vocabulary that `to_json` wrote.

        Raises:
            ModelDamaged: the text is no such document.
        """
        try:
            values = json.loads(text)
            if values.pop("format") != FORMAT:
                raise ValueError("another format")
            values["types"] = {int(token_id): kind for token_id, kind in values["types"].items()}
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelDamaged(f"not a saved vocabulary: {error}; build it from the GGUF again") from error


def from_metadata(metadata: Mapping[str, Any], file_name: str) -> GgufVocabulary:
    """The vocabulary in a GGUF header's metadata.

    Args:
        metadata: as `tokenglass.files.gguf.read_header` gives it.
        file_name: for messages.

    Raises:
        ModelUnsupported: a kind of vocabulary, or a rule for cutting text, that is not known here.
        ModelDamaged: lists of different length, a token twice, an id outside the vocabulary.
    """
    model = _supported_model(metadata, file_name)
    rule = _supported_rule(metadata, file_name) if model == BYTE_LEVEL else ""
    tokens = _tokens(metadata, file_name)
    ids = dict(zip(tokens, range(len(tokens)), strict=True))
    if len(ids) != len(tokens):
        twice = next(token for token_id, token in enumerate(tokens) if ids[token] != token_id)
        raise ModelDamaged(f"{file_name}: token {safe_text(twice)[:40]!r} appears twice; get the file again")
    scored = model == SCORED
    adds_bos = scored or RULES[rule].adds_bos
    title = metadata.get("general.name") or file_name.removesuffix(".gguf")
    template = metadata.get("tokenizer.chat_template")
    vocabulary = GgufVocabulary(
        model=model,
        rule=rule,
        tokens=tokens,
        merges=[] if scored else _merges(metadata, file_name),
        scores=_scores(metadata, len(tokens), file_name) if scored else [],
        types=_types(metadata, ids, file_name),
        roles=_roles(metadata, scored, len(tokens)),
        add_bos=metadata.get("tokenizer.ggml.add_bos_token", adds_bos) is True,
        add_eos=metadata.get("tokenizer.ggml.add_eos_token", False) is True,
        add_space_prefix=scored and metadata.get("tokenizer.ggml.add_space_prefix", True) is True,
        strips_after_special=any(word in str(title).lower() for word in ("phi-3", "phi3")),
        name=str(title),
        chat_template=template if isinstance(template, str) else None,
    )
    vocabulary.__dict__["ids"] = ids  # already made: do not make it again
    return vocabulary


def _supported_model(metadata: Mapping[str, Any], file_name: str) -> str:
    model = str(metadata.get("tokenizer.ggml.model", "none"))
    if model in (SCORED, BYTE_LEVEL):
        return model
    if model in ("none", "no_vocab"):
        raise ModelUnsupported(f"{file_name} holds no vocabulary; load the tokenizer from the model's folder")
    raise ModelUnsupported(
        f"{file_name} has a vocabulary of kind {safe_text(model)[:40]!r}; only gpt2 (byte-level BPE) "
        "and llama (SentencePiece) can be read: load a folder with the model's tokenizer.json"
    )


def _supported_rule(metadata: Mapping[str, Any], file_name: str) -> str:
    rule = str(metadata.get("tokenizer.ggml.pre", "")) or "default"
    if rule not in RULES:
        raise ModelUnsupported(
            f"{file_name} cuts text by the rule {safe_text(rule)[:40]!r}, which is not known here; "
            "load a folder with the model's tokenizer.json"
        )
    return rule


def _tokens(metadata: Mapping[str, Any], file_name: str) -> list[str]:
    tokens = _texts(metadata, "tokens", file_name)
    if not tokens:
        raise ModelDamaged(f"{file_name} has an empty vocabulary; get the file again")
    if "" in tokens:
        tokens = [token or f"[EMPTY_{token_id}]" for token_id, token in enumerate(tokens)]
    return tokens


def _merges(metadata: Mapping[str, Any], file_name: str) -> list[str]:
    if "tokenizer.ggml.merges" not in metadata:
        raise ModelDamaged(f"{file_name} has a byte-level vocabulary without merges; convert the model again")
    return _texts(metadata, "merges", file_name)


def _texts(metadata: Mapping[str, Any], key: str, file_name: str) -> list[str]:
    values = metadata.get(f"tokenizer.ggml.{key}")
    if not isinstance(values, list) or any(not isinstance(value, str) for value in values[:1]):
        raise ModelDamaged(f"{file_name}: tokenizer.ggml.{key} is not a list of texts; get the file again")
    return values


def _numbers(metadata: Mapping[str, Any], key: str, n_tokens: int, file_name: str) -> NDArray[Any]:
    """A list of numbers beside the tokens, one for each."""
    values = np.asarray(metadata[f"tokenizer.ggml.{key}"])
    if values.dtype.kind not in "iuf" or values.shape != (n_tokens,):
        raise ModelDamaged(
            f"{file_name}: tokenizer.ggml.{key} is not a list of {n_tokens:,} numbers, one for each token; "
            "get the file again"
        )
    return values


def _scores(metadata: Mapping[str, Any], n_tokens: int, file_name: str) -> list[float]:
    if "tokenizer.ggml.scores" not in metadata:
        return [0.0] * n_tokens
    scores = _numbers(metadata, "scores", n_tokens, file_name)
    if not np.isfinite(scores).all():
        raise ModelDamaged(f"{file_name}: a score of the vocabulary is no number; get the file again")
    return [float(score) for score in scores]


def _types(metadata: Mapping[str, Any], ids: dict[str, int], file_name: str) -> dict[int, int]:
    """Types other than NORMAL, with llama.cpp's corrections by name."""
    types = {}
    if "tokenizer.ggml.token_type" in metadata:
        kinds = _numbers(metadata, "token_type", len(ids), file_name)
        types = {int(i): int(kinds[i]) for i in np.flatnonzero(kinds != TokenType.NORMAL)}
    names = set(_END_NAMES.split())
    for keys, fill_names in _FILL_NAMES.items():
        if not any(f"tokenizer.ggml.{key}_token_id" in metadata for key in keys):
            names.update(fill_names.split())
    types |= {ids[name]: int(TokenType.CONTROL) for name in names if name in ids}
    return types | {ids[name]: int(TokenType.USER_DEFINED) for name in _SHOWN_NAMES if name in ids}


def _roles(metadata: Mapping[str, Any], scored: bool, n_tokens: int) -> dict[str, int]:
    roles = dict(_SCORED_ROLES) if scored else {}
    for role, key in _ROLES.items():
        token_id = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(token_id, int) and not isinstance(token_id, bool):
            roles[role] = token_id  # one outside the vocabulary is ignored, as llama.cpp does
    return {role: token_id for role, token_id in roles.items() if 0 <= token_id < n_tokens}
