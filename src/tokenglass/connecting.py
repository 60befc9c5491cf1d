"""From an address to a running model: the server is probed once, and a tokenizer found for it.

The tokenizer is the one the user names; else that of the GGUF file, where the server runs for one; else the
server's own, where it says enough for that. Two tokenizers are compared before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenglass import tokenizer as tokenizers
from tokenglass.engines.server import (
    Address,
    Child,
    Patience,
    PeerScheme,
    Probed,
    ServerEngine,
    Transport,
    parse_address,
    probe,
)
from tokenglass.errors import ModelUnsupported, RemoteError
from tokenglass.files.memory import free_memory
from tokenglass.text import safe_line, safe_text
from tokenglass.tokenizer import Tokenizer
from tokenglass.types import EngineInfo

if TYPE_CHECKING:
    from tokenglass.files.layout import ModelFiles
    from tokenglass.model import Model

CAPABILITIES = frozenset({"listed", "told", "ids"})  # of a server that can do all
LONGEST_CONTEXT = 8192  # of a server that is started here: its cache is allocated at once
UNKNOWN_LENGTH = 1 << 62  # of a server that does not say how much it can read
_TRIAL = (
    "Hello, wörld 12345!\n\tif x == y:  # 日本"  # two tokenizers that cut this alike are taken for the same
)


def connect(source: str, tokenizer: Tokenizer | None = None, patience: Patience | None = None) -> Model:
    """A model behind a server.

    Args:
        source: an address such as "http://127.0.0.1:8000/v1#model".
        tokenizer: of that model; None takes the server's own, which only llama.cpp's says enough of.
        patience: how long to wait, and how often to try.

    Raises:
        ValueError: no such address.
        ModelNotFound, ModelUnsupported, RemoteError: see `engines.server.probe`.
    """
    return _model(Transport(parse_address(source), patience), tokenizer)


def serve(files: ModelFiles, threads: int | None = None) -> Model:
    """A model of a GGUF file behind a llama.cpp server of its own, which ends with the model.

    Raises:
        ModelUnsupported: larger than the free memory, or nothing that llama.cpp can open.
        MissingDependency: xllamacpp is not installed.
    """
    child = start(files, threads)
    try:
        line = Transport(child.address, revived=child.revive)
        return _model(line, _from_file(files), name=files.name, closed=child.close)
    except BaseException:
        child.close()
        raise


def start(
    files: ModelFiles, threads: int | None = None, context: int | None = None, port: int = 0, key: str = ""
) -> Child:
    """A llama.cpp server for a GGUF file as a child process; see `Child`."""
    from tokenglass.files import gguf

    if not files.gguf:
        raise ModelUnsupported(
            f"{files.name} is no GGUF file, and llama.cpp's server opens no other; use engine='hf'"
        )
    header = gguf.read_header(files.path)
    gguf.check_model(header)
    free = free_memory()
    if free is not None and files.n_bytes > free:
        raise ModelUnsupported(
            f"{files.name} has {files.n_bytes / 1e9:.1f} GB and {free / 1e9:.1f} GB of memory are free; "
            "use a smaller one, or a server on a larger machine"
        )
    own = header.metadata.get(f"{header.metadata.get('general.architecture')}.context_length")
    longest = own if isinstance(own, int) and own > 0 else LONGEST_CONTEXT
    return Child(Path(files.path), context or min(longest, LONGEST_CONTEXT), threads, port, key)


def _from_file(files: ModelFiles) -> Tokenizer | None:
    """The tokenizer of a GGUF file, or None where it is of a kind that only llama.cpp knows."""
    try:
        return tokenizers.from_gguf(files.path)
    except ModelUnsupported:
        return None


def _model(
    line: Transport, tokenizer: Tokenizer | None, name: str = "", closed: Callable[[], None] = lambda: None
) -> Model:
    from tokenglass.model import Model

    try:
        probed = probe(line, *(() if tokenizer is None else (_named(tokenizer), _spelled(tokenizer))))
        if tokenizer is None:
            tokenizer, told = _own_tokenizer(line, probed)
        else:
            told = _ignored
            _require_same(line, probed, tokenizer)
        size = probed.vocab_size or len(tokenizer)
        if len(tokenizer) < size:
            tokenizer = tokenizer.padded_to(size)
        info = _info(probed, line.address, tokenizer, size, name)
        return Model(ServerEngine(line, probed, info, told, closed), tokenizer)
    except BaseException:
        line.close()
        raise


def _ignored(entries: Sequence[Any]) -> None:
    """A tokenizer of our own needs no lessons."""


def _own_tokenizer(line: Transport, probed: Probed) -> tuple[Tokenizer, Callable[[Sequence[Any]], None]]:
    can = probed.abilities
    if probed.vocab_size is None or can["tokenize"] != "yes" or can["bytes"] != "yes":
        raise ModelUnsupported(
            f"the server at {safe_line(line.address.root)} does not say how its model cuts text; name the "
            'tokenizer: tg.load(address, tokenizer="folder or hub id"), or --tokenizer'
        )
    scheme = PeerScheme(line, probed.peer, probed.vocab_size)
    scheme.learn(probed.first)
    roles = scheme.specials(probed.specials)
    own = Tokenizer(scheme, name=safe_line(probed.model), roles=roles, chat_template=probed.chat_template)
    return own, scheme.learn


def _named(tokenizer: Tokenizer) -> Callable[[str], int | None]:
    def named(text: str) -> int | None:
        """The one id of a text; None where it may be half a character, or where no token is certain."""
        try:
            return None if "\ufffd" in text else tokenizer.find(text)
        except ValueError:
            return None

    return named


def _spelled(tokenizer: Tokenizer) -> Callable[[Sequence[int]], str]:
    def spelled(ids: Sequence[int]) -> str:
        """The text of ids, refused where the server would cut it otherwise."""
        try:
            text = tokenizer.decode_bytes(ids).decode()
        except UnicodeDecodeError:
            text = None
        if text is None or tuple(tokenizer.encode(text).ids) != tuple(ids):
            raise RemoteError(
                "this server takes texts only, and these tokens are not what their text is cut into; "
                "only a server that takes ids can go on from here"
            )
        return text

    return spelled


def _require_same(line: Transport, probed: Probed, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer that is not the server's, as far as the server shows its own.

    Raises:
        ModelUnsupported: they differ, and where.
    """
    size = probed.vocab_size
    if size is not None and len(tokenizer) > size:
        raise ModelUnsupported(
            f"the tokenizer has {len(tokenizer):,} tokens, the server's model {size:,}; {_NAME_IT}"
        )
    for entry in probed.first:
        if entry.id is None or not entry.spelt or entry.id >= len(tokenizer):
            continue
        token = tokenizer.token(entry.id)
        if token.kind != "control" and token.bytes != entry.spelt:
            raise ModelUnsupported(
                f'token {entry.id} is "{safe_text(entry.spelt)}" to the server and "{token.text}" to the '
                f"tokenizer; {_NAME_IT}"
            )
    if probed.abilities["tokenize"] == "yes":
        _require_same_cut(line, probed, tokenizer)


_NAME_IT = "name the tokenizer of the model that is served"


def _require_same_cut(line: Transport, probed: Probed, tokenizer: Tokenizer) -> None:
    own = tokenizer.encode(_TRIAL, add_special_tokens=False).ids
    if probed.peer.kind == "llama.cpp":
        body = {"content": _TRIAL, "add_special": False, "parse_special": False}
    else:
        body = {"model": probed.model, "prompt": _TRIAL, "add_special_tokens": False}
    theirs = line.ask("/tokenize", body).get("tokens")
    if theirs != own:
        raise ModelUnsupported(
            f"the server cuts a text into other tokens than the tokenizer does; {_NAME_IT}"
        )


def _capabilities(probed: Probed) -> frozenset[str]:
    lacking = {name for name in ("ids", "told") if probed.abilities[name] != "yes"}
    return CAPABILITIES - lacking


def _info(probed: Probed, address: Address, tokenizer: Tokenizer, size: int, name: str) -> EngineInfo:
    eos = tokenizer.eos_id
    return EngineInfo(
        name=name or safe_line(probed.model)[:200],
        family=probed.peer.kind,
        engine="server",
        precision="unknown",
        parameters=probed.parameters,
        vocab_size=size,
        context_length=probed.context_length or UNKNOWN_LENGTH,
        eos_ids=() if eos is None else (eos,),
        bos_id=tokenizer.bos_id,
        weights=safe_line(probed.weights)[:80],
        capabilities=_capabilities(probed),
        source=address.shown,
        peer={**probed.abilities, "listed": probed.listed},
    )
