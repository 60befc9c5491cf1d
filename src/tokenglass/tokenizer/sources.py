"""From files to a tokenizer: a folder, a tokenizer.json, vocab + merges, a GGUF.

Only files on this machine are read, and nothing in them is run; names of models on a hub are somebody else's
business. What transformers reads from the files beside a tokenizer.json is read here the same way.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tokenglass.errors import EngineError, ModelDamaged, ModelNotFound, ModelUnsupported
from tokenglass.text import safe_line
from tokenglass.tokenizer.core import Tokenizer
from tokenglass.tokenizer.library import LibraryScheme, first_line
from tokenglass.tokenizer.schemes import scheme_for
from tokenglass.tokenizer.vocabulary import GgufVocabulary, from_metadata

MAX_FILE = 256 << 20  # bytes; the largest published tokenizer.json has about 35 million
MAX_SIDE_FILE = 16 << 20

_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_VOCABULARIES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
# Where the files say nothing, transformers' classes do (their __init__ defaults).
_ENDOFTEXT = {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "unk": "<|endoftext|>"}
_CLASS_TOKENS = {
    "GPT2Tokenizer": _ENDOFTEXT,
    "GPTNeoXTokenizer": _ENDOFTEXT,
    "Qwen2Tokenizer": {"eos": "<|endoftext|>", "unk": "<|endoftext|>", "pad": "<|endoftext|>"},
    "LlamaTokenizer": {"bos": "<s>", "eos": "</s>", "unk": "<unk>"},
}
_FAMILY_CLASS = {
    "gpt2": "GPT2Tokenizer",
    "gpt_neox": "GPTNeoXTokenizer",
    "qwen2": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer",
}
T = TypeVar("T")


def load_tokenizer(source: str | Path, *, add_prefix_space: bool | None = None) -> Tokenizer:
    """A tokenizer from files on this machine.

    Args:
        source: a folder with tokenizer.json, or vocab.json and merges.txt, or encoder.json and vocab.bpe, or one
            .gguf; or a tokenizer.json or .gguf file itself (one without weights will do).
        add_prefix_space: put a space before every text, or do not, whatever the files say.

    Raises:
        ModelNotFound: nothing there.
        ModelUnsupported: a kind of tokenizer that is not known here.
        ModelDamaged: a file contradicts its own format.
    """
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, add_prefix_space)
    if path.suffix == ".gguf":
        return from_gguf(path, add_prefix_space)
    if path.suffix == ".json" and path.name not in ("vocab.json", "encoder.json"):
        return from_tokenizer_json(path, add_prefix_space)
    if not path.exists():
        raise ModelNotFound(f"no tokenizer at {safe_line(str(path))}: give a folder, a tokenizer.json or a .gguf")
    raise ModelUnsupported(
        f"{safe_line(path.name)} is no tokenizer that can be read; give its folder, a tokenizer.json or a .gguf"
    )


def from_gguf(path: str | Path, add_prefix_space: bool | None = None) -> Tokenizer:
    """The tokenizer in a GGUF file, with llama.cpp's ids.

    Raises:
        ModelNotFound, ModelUnsupported, ModelDamaged: as `load_tokenizer`.
    """
    from tokenglass.files.gguf import read_header

    path = Path(path)
    metadata = read_header(path).metadata
    return _from_vocabulary(from_metadata(metadata, safe_line(path.name)), add_prefix_space)


def from_json(text: str, add_prefix_space: bool | None = None) -> Tokenizer:
    """The tokenizer that `Tokenizer.to_json` saved.

    Raises:
        ModelDamaged: the text is no such document.
    """
    return _from_vocabulary(GgufVocabulary.from_json(text), add_prefix_space)


def from_tokenizer_json(path: str | Path, add_prefix_space: bool | None = None) -> Tokenizer:
    """The tokenizer of a tokenizer.json, with what the files beside it say of special tokens and chat.

    Raises:
        ModelNotFound, ModelUnsupported, ModelDamaged: as `load_tokenizer`.
    """
    path = Path(path)
    text = _read(path, MAX_FILE)
    unk_token = None
    if add_prefix_space is not None or '"Unigram"' in text:
        document = _parsed(text, path)
        unk_token = _unigram_unknown(document)
        if add_prefix_space is not None:
            text = json.dumps(with_prefix_space(document, add_prefix_space), ensure_ascii=False)
    tokenizers = _library()
    backend = _built(path, lambda: tokenizers.Tokenizer.from_str(text))
    return _finished(backend, path.parent, unk_token)


def from_vocab_merges(
    vocab: str | Path, merges: str | Path, add_prefix_space: bool | None = None
) -> Tokenizer:
    """GPT-2's form: a JSON of token -> id and a text file of merges, byte-level.

    Raises:
        ModelNotFound, ModelDamaged: as `load_tokenizer`.
    """
    vocab, merges = Path(vocab), Path(merges)
    for path in (vocab, merges):
        _sized(path, MAX_FILE)
    tokenizers = _library()
    config = _side_file(vocab.parent / "tokenizer_config.json")
    space = config.get("add_prefix_space", False) if add_prefix_space is None else add_prefix_space
    backend = _built(
        vocab, lambda: tokenizers.Tokenizer(tokenizers.models.BPE.from_file(str(vocab), str(merges)))
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=bool(space))
    backend.decoder = tokenizers.decoders.ByteLevel()
    return _finished(backend, vocab.parent, None, family_class="GPT2Tokenizer")


def with_prefix_space(document: dict[str, Any], wanted: bool) -> dict[str, Any]:
    """A tokenizer.json's content with the space before every text switched on or off.

    Raises:
        ModelUnsupported: the pre-tokenizer cuts the text before the space could be put in front of it.
    """
    steps = document.get("pre_tokenizer") or {}
    inner = steps.get("pretokenizers", [steps])
    first = inner[0] if inner else {}
    if first.get("type") == "ByteLevel" or (first.get("type") == "Metaspace" and len(inner) == 1):
        if first["type"] == "ByteLevel":
            first["add_prefix_space"] = wanted
        elif wanted != (first.get("prepend_scheme", "always") != "never"):
            first["prepend_scheme"] = "first" if wanted else "never"
            decoder = document.get("decoder") or {}
            if decoder.get("type") == "Metaspace":
                decoder["prepend_scheme"] = first["prepend_scheme"]
        return document
    raise ModelUnsupported(
        "add_prefix_space works where text is cut by a plain byte-level or SentencePiece rule, and this "
        "tokenizer has another; put the space into the text instead"
    )


def _from_folder(folder: Path, add_prefix_space: bool | None) -> Tokenizer:
    if (folder / "tokenizer.json").exists():
        return from_tokenizer_json(folder / "tokenizer.json", add_prefix_space)
    for vocab, merges in _VOCABULARIES:
        if (folder / vocab).exists() and (folder / merges).exists():
            return from_vocab_merges(folder / vocab, folder / merges, add_prefix_space)
    files = sorted(folder.glob("*.gguf"))
    if len(files) == 1:
        return from_gguf(files[0], add_prefix_space)
    if len(files) > 1:
        raise ModelNotFound(f"{safe_line(str(folder))} holds {len(files)} .gguf files; name one of them")
    if (folder / "tokenizer.model").exists():
        raise ModelUnsupported(
            f"{safe_line(str(folder))} has a tokenizer.model only; save a tokenizer.json beside it with "
            "transformers' AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
        )
    raise ModelNotFound(
        f"no tokenizer in {safe_line(str(folder))}: it needs tokenizer.json, or vocab.json and merges.txt"
    )


def _from_vocabulary(vocabulary: GgufVocabulary, add_prefix_space: bool | None) -> Tokenizer:
    return Tokenizer(
        scheme_for(vocabulary, add_prefix_space),
        name=vocabulary.name,
        roles=vocabulary.roles,
        chat_template=vocabulary.chat_template,
    )


def _finished(backend: Any, folder: Path, unk_token: str | None, family_class: str | None = None) -> Tokenizer:
    """Special tokens, roles and chat template from the files beside a tokenizer, as transformers reads them."""
    config = _side_file(folder / "tokenizer_config.json")
    if "added_tokens_decoder" not in config:
        config |= _side_file(folder / "special_tokens_map.json")
    if family_class is None:
        declared = config.get("tokenizer_class") or _FAMILY_CLASS.get(
            str(_side_file(folder / "config.json").get("model_type")), ""
        )
        family_class = str(declared).removesuffix("Fast")
    else:
        _add_ends(backend, config)
    ...
