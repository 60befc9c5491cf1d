"""From files to a tokenizer: a folder, a tokenizer.json, vocab + merges, a GGUF.

Only files on this machine are read, and nothing in them is run; names of models on a hub are somebody else's
business. What transformers reads from the files beside a tokenizer.json is read here the same way.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenglass.errors import ModelNotFound, ModelUnsupported
from tokenglass.text import safe_line
from tokenglass.tokenizer.configured import (
    finished,
    parsed,
    read_text,
    side_file,
    sized,
    unigram_unknown,
)
from tokenglass.tokenizer.core import Tokenizer
from tokenglass.tokenizer.library import adds_space, build, flat_steps
from tokenglass.tokenizer.schemes import scheme_for
from tokenglass.tokenizer.vocabulary import GgufVocabulary, from_metadata

if TYPE_CHECKING:
    from tokenglass.files.gguf import GgufHeader

MAX_FILE = 64 << 20  # bytes; the largest published tokenizer.json has about 35 million
_VOCABULARIES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


def load_tokenizer(source: str | Path, *, add_prefix_space: bool | None = None) -> Tokenizer:
    """A tokenizer from files on this machine.

    Args:
        source: a folder with tokenizer.json, or vocab.json and merges.txt, or encoder.json and vocab.bpe, or
            one .gguf; or a tokenizer.json or .gguf file itself (one without weights will do).
        add_prefix_space: put a space before every text, or do not, whatever the files say.

    Raises:
        ModelNotFound: nothing there.
        ModelUnsupported: a kind of tokenizer that is not known here.
        ModelDamaged: a file contradicts its own format.
    """
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, add_prefix_space)
    sized(path, sys.maxsize)
    if path.suffix == ".gguf":
        return from_gguf(path, add_prefix_space)
    if path.suffix == ".json" and path.name not in ("vocab.json", "encoder.json"):
        return from_tokenizer_json(path, add_prefix_space)
    raise ModelUnsupported(
        f"{safe_line(path.name)} is no tokenizer; give its folder, a tokenizer.json or a .gguf file"
    )


def from_gguf(
    path: str | Path, add_prefix_space: bool | None = None, *, header: GgufHeader | None = None
) -> Tokenizer:
    """The tokenizer in a GGUF file, with llama.cpp's ids.

    Args:
        path: the file.
        add_prefix_space: as for `load_tokenizer`.
        header: of that file, where it was read already.

    Raises:
        ModelNotFound, ModelUnsupported, ModelDamaged: as `load_tokenizer`.
    """
    from tokenglass.files.gguf import read_header

    path = Path(path)
    metadata = (header or read_header(path)).metadata
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
    text = read_text(path, MAX_FILE)
    unk_token = None
    if add_prefix_space is not None or '"Unigram"' in text:
        document = parsed(text, path)
        unk_token = unigram_unknown(document)
        if add_prefix_space is not None:
            text = json.dumps(with_prefix_space(document, add_prefix_space), ensure_ascii=False)
    import tokenizers

    backend = build(path, lambda: tokenizers.Tokenizer.from_str(text))
    return finished(backend, path.parent, unk_token)


def from_vocab_merges(
    vocab: str | Path, merges: str | Path, add_prefix_space: bool | None = None
) -> Tokenizer:
    """GPT-2's form: a JSON of token -> id and a text file of merges, byte-level.

    Raises:
        ModelNotFound, ModelDamaged: as `load_tokenizer`.
    """
    vocab, merges = Path(vocab), Path(merges)
    for path in (vocab, merges):
        sized(path, MAX_FILE)
    import tokenizers

    config = side_file(vocab.parent / "tokenizer_config.json")
    space = config.get("add_prefix_space", False) if add_prefix_space is None else add_prefix_space
    backend = build(
        vocab, lambda: tokenizers.Tokenizer(tokenizers.models.BPE.from_file(str(vocab), str(merges)))
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=bool(space))
    backend.decoder = tokenizers.decoders.ByteLevel()
    return finished(backend, vocab.parent, class_name="GPT2Tokenizer")


def with_prefix_space(document: dict[str, Any], wanted: bool) -> dict[str, Any]:
    """A tokenizer.json's content with the space before every text switched on or off.

    Raises:
        ModelUnsupported: the pre-tokenizer cuts the text before the space could be put in front of it.
    """
    first, *more = flat_steps(document.get("pre_tokenizer"), "pretokenizers") or [{}]
    normalizers = flat_steps(document.get("normalizer"), "normalizers")
    if any(adds_space(step) for step in (first, *more, *normalizers)) == wanted:
        return document
    if first.get("type") == "ByteLevel":
        first["add_prefix_space"] = wanted
    elif first.get("type") == "Metaspace" and not more:
        first["prepend_scheme"] = "first" if wanted else "never"
    elif not wanted and any(step.get("type") == "Prepend" for step in normalizers):
        kept = [step for step in normalizers if step.get("type") != "Prepend"]
        document["normalizer"] = {"type": "Sequence", "normalizers": kept}
    else:
        raise ModelUnsupported(
            "add_prefix_space works where text is cut by a plain byte-level or SentencePiece rule, and this "
            "tokenizer has another; put the space into the text instead"
        )
    decoders = flat_steps(document.get("decoder"), "decoders")
    for step in decoders:
        if step.get("type") == "Metaspace":
            step["prepend_scheme"] = first["prepend_scheme"]
    if not wanted and any(step.get("type") == "Strip" for step in decoders):  # it takes that space off again
        kept = [step for step in decoders if step.get("type") != "Strip"]
        document["decoder"] = {"type": "Sequence", "decoders": kept}
    return document


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
