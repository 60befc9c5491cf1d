"""What the files beside a tokenizer say: special tokens, their roles, the chat template; and reading them.

transformers reads tokenizer_config.json, special_tokens_map.json and chat_template.jinja beside a
tokenizer.json; the same is done here, except that nothing named in them is ever opened or run.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tokenglass.errors import ModelDamaged, ModelNotFound
from tokenglass.text import safe_line
from tokenglass.tokenizer.core import Tokenizer
from tokenglass.tokenizer.library import LibraryScheme, first_line

MAX_SIDE_FILE = 4 << 20

_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
# Where the files say nothing, transformers' classes do (the defaults of their __init__).
_END_OF_TEXT = "<|endoftext|>"
_CLASS_TOKENS = {
    "GPT2Tokenizer": {"bos": _END_OF_TEXT, "eos": _END_OF_TEXT, "unk": _END_OF_TEXT},
    "GPTNeoXTokenizer": {"bos": _END_OF_TEXT, "eos": _END_OF_TEXT, "unk": _END_OF_TEXT},
    "Qwen2Tokenizer": {"eos": _END_OF_TEXT, "unk": _END_OF_TEXT, "pad": _END_OF_TEXT},
    "LlamaTokenizer": {"bos": "<s>", "eos": "</s>", "unk": "<unk>"},
}
_FAMILY_CLASS = {
    "gpt2": "GPT2Tokenizer",
    "gpt_neox": "GPTNeoXTokenizer",
    "qwen2": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer",
}


def finished(backend: Any, folder: Path, unk_token: str | None = None, *, class_name: str = "") -> Tokenizer:
    """A tokenizer with the special tokens and the chat template that the files beside it name.

    Args:
        backend: the library's object, without them.
        folder: where the files are.
        unk_token: the model's unknown token, where the backend does not say.
        class_name: of transformers, for vocab + merges, which say less than a tokenizer.json.

    Raises:
        ModelDamaged: a file there is not what it should be.
    """
    config = side_file(folder / "tokenizer_config.json")
    if "added_tokens_decoder" not in config:  # folders of older versions
        config = side_file(folder / "special_tokens_map.json") | config
    tokens = _special_tokens(backend, config, class_name or _class_name(folder, config))
    if class_name:  # of vocab + merges; a tokenizer.json has its own rule for what surrounds a text
        _surround(backend, config, tokens)
    scheme = LibraryScheme(backend, unk_token)
    roles = {role: backend.token_to_id(token) for role, token in tokens.items()}
    if "unk" not in roles and scheme.unk_token:
        roles["unk"] = backend.token_to_id(scheme.unk_token)
    return Tokenizer(
        scheme,
        name=folder.resolve().name,
        roles={role: token_id for role, token_id in roles.items() if token_id is not None},
        chat_template=_chat_template(folder, config),
    )


def _class_name(folder: Path, config: dict[str, Any]) -> str:
    """The transformers class whose defaults hold for what the files leave open."""
    declared = config.get("tokenizer_class")
    if not isinstance(declared, str):
        declared = _FAMILY_CLASS.get(str(side_file(folder / "config.json").get("model_type")), "")
    return declared.removesuffix("Fast")


def _special_tokens(backend: Any, config: dict[str, Any], class_name: str) -> dict[str, str]:
    """Make the tokens that the configuration names special, and say which has which role."""
    listed = config.get("added_tokens_decoder")
    listed = listed if isinstance(listed, dict) else {}
    numbers = sorted((number for number in listed if re.fullmatch("[0-9]{1,9}", number)), key=int)
    known = {repr(token) for token in backend.get_added_tokens_decoder().values()}
    tried = (_added_token(listed[number]) for number in numbers)
    added = [token for token in tried if token is not None and repr(token) not in known]
    if added:
        backend.add_tokens(added)
    tokens = {role: token for role in _ROLES if (token := _content(config.get(f"{role}_token")))}
    for role, token in _CLASS_TOKENS.get(class_name, {}).items():
        if f"{role}_token" not in config and backend.token_to_id(token) is not None:
            tokens[role] = token
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    extra = extra.values() if isinstance(extra, dict) else extra if isinstance(extra, list) else ()
    named = {token: config.get(f"{role}_token") for role, token in tokens.items()}
    named |= {token: entry for entry in extra if (token := _content(entry))}
    special = {token.content for token in backend.get_added_tokens_decoder().values() if token.special}
    for token, entry in named.items():
        if token not in special:
            backend.add_special_tokens([_added_token(entry) or _added_token({"content": token})])
    return tokens


def _added_token(entry: Any) -> Any:
    """The library's object for an entry of a configuration file; None for anything else."""
    if not isinstance(entry, dict) or not _content(entry):
        return None
    flags = {
        name: entry[name]
        for name in ("single_word", "lstrip", "rstrip", "normalized")
        if isinstance(entry.get(name), bool)
    }
    from tokenizers import AddedToken

    special = entry.get("special", True) is True
    return AddedToken(entry["content"], special=special, **({"normalized": not special} | flags))


def _content(entry: Any) -> str | None:
    """The text of a token that a configuration file gives as a text or as an object."""
    text = entry.get("content") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) and text else None


def _surround(backend: Any, config: dict[str, Any], tokens: dict[str, str]) -> None:
    """Put BOS before and EOS behind every text where the configuration says so."""
    ends = [role for role in ("bos", "eos") if config.get(f"add_{role}_token") is True and role in tokens]
    if not ends:
        return
    from tokenizers.processors import TemplateProcessing

    single = [tokens["bos"]] * ("bos" in ends) + ["$A"] + [tokens["eos"]] * ("eos" in ends)
    backend.post_processor = TemplateProcessing(
        single=single, special_tokens=[(tokens[role], backend.token_to_id(tokens[role])) for role in ends]
    )


def _chat_template(folder: Path, config: dict[str, Any]) -> str | None:
    """The default template: from its own file, or from the configuration."""
    path = folder / "chat_template.jinja"
    if path.exists():
        return read_text(path, MAX_SIDE_FILE)
    template = config.get("chat_template")
    if isinstance(template, list):  # several, by name
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def unigram_unknown(document: dict[str, Any]) -> str | None:
    """The unknown token of a Unigram vocabulary, which the library does not tell."""
    model = document.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("unk_id"), int):
        return None
    try:
        return str(model["vocab"][model["unk_id"]][0])
    except (KeyError, IndexError, TypeError):
        return None


def side_file(path: Path) -> dict[str, Any]:
    """A JSON object beside the tokenizer; {} where there is no such file.

    Raises:
        ModelDamaged: it holds something else.
    """
    return parsed(read_text(path, MAX_SIDE_FILE), path) if path.exists() else {}


def parsed(text: str, path: Path) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        ModelDamaged: it holds something else.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        name = safe_line(path.name)
        raise ModelDamaged(f"{name} is no JSON: {first_line(error)}; get the file again") from error
    if not isinstance(document, dict):
        raise ModelDamaged(f"{safe_line(path.name)} holds no JSON object; get the file again")
    return document


def read_text(path: Path, limit: int) -> str:
    """The text of a file of at most `limit` bytes.

    Raises:
        ModelNotFound: it is not there or may not be read.
        ModelDamaged: it is larger, or no UTF-8.
    """
    sized(path, limit)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelDamaged(f"{safe_line(path.name)} is no UTF-8 text; get the file again") from error
    except OSError as error:
        raise ModelNotFound(f"cannot read {safe_line(str(path))}: {error.strerror}") from error


def sized(path: Path, limit: int) -> None:
    """Refuse what is not there, and what is larger than anything of its name.

    Raises:
        ModelNotFound: it is no file.
        ModelDamaged: it has more than `limit` bytes.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ModelNotFound(f"no tokenizer at {safe_line(str(path))}: {error.strerror}") from error
    if not path.is_file():
        raise ModelNotFound(f"{safe_line(str(path))} is no file; give a folder, a tokenizer.json or a .gguf")
    if size > limit:
        raise ModelDamaged(f"{safe_line(path.name)} has {size:,} bytes, more than the {limit:,} allowed")
