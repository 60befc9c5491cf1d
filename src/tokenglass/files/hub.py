"""Models from the Hugging Face hub, through its own client and its own cache.

Asks for safetensors, JSON, text, GGUF and SentencePiece files by name, so that neither a pickle nor code is
ever fetched. The cache is looked at without a network and without importing the client.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenglass.errors import MissingDependency, ModelNotFound, ModelUnsupported
from tokenglass.files.layout import TOKENIZER_FILES, choose_gguf, refuse_pickles
from tokenglass.files.safetensors import INDEX, SINGLE, shard_names
from tokenglass.files.tensors import shown

# The only suffixes that are ever asked for; `vocab.bpe` and templates under other suffixes stay on the hub.
ALLOWED = (".safetensors", ".json", ".txt", ".gguf", ".model")
TEXTS = ("config.json", "generation_config.json", *TOKENIZER_FILES)

_ID = re.compile(
    r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?(/[A-Za-z0-9_][\w.-]{0,150}\.gguf)?", re.ASCII
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[\w./-]{1,200}", re.ASCII)
TIMEOUT_S = 15
STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}


def split_id(source: str) -> tuple[str, str | None] | None:
    """("org/name", None), ("org/name", "file.gguf") for one file of it, or None where this is no id.

    >>> split_id("org/name/file.Q4_1.gguf"), split_id("../x")
    (('org/name', 'file.Q4_1.gguf'), None)
    """
    if not _ID.fullmatch(source) or ".." in source:
        return None
    parts = source.split("/")
    return ("/".join(parts[:2]), parts[2]) if len(parts) == 3 else (source, None)


def cache_folder() -> Path:
    """Where the hub's client keeps its files, by the variables it documents."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    home = os.environ.get("HF_HOME") or os.path.join(home, "huggingface")
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expandvars(os.path.expanduser(named or os.path.join(home, "hub"))))


def cached_snapshot(repository: str, revision: str | None = None) -> Path | None:
    """The folder of a repository's files that were fetched before, perhaps not all of them; else None."""
    revision = _checked(revision)
    folder = cache_folder() / ("models--" + repository.replace("/", "--"))
    try:
        commit = (
            revision
            if _COMMIT.fullmatch(revision)
            else (folder / "refs" / revision).read_text("ascii").strip()
        )
    except (OSError, ValueError):
        return None
    snapshot = folder / "snapshots" / commit
    return snapshot if _COMMIT.fullmatch(commit) and snapshot.is_dir() else None


def cached_repositories() -> list[str]:
    """Names of all models in the hub's cache."""
    folders = sorted(cache_folder().glob("models--*"))
    return [
        folder.name.removeprefix("models--").replace("--", "/", 1) for folder in folders if folder.is_dir()
    ]


def fetch_snapshot(repository: str, revision: str | None, visible: bool, *, weights: bool = True) -> Path:
    """Download what a model needs from a repository; files already in the cache are not fetched again.

    Raises:
        ModelNotFound: no such repository or revision, no access, or no network; says what to do next.
        ModelUnsupported: pickles only, or several GGUF files.
    """
    revision = _checked(revision)
    with _client(repository, revision, visible) as client:
        info = client.HfApi().model_info(repository, revision=revision, timeout=TIMEOUT_S)
        names = [entry.rfilename for entry in info.siblings or ()]
        wanted = [name for name in names if name in TEXTS and name.endswith(ALLOWED)]
        if weights or not wanted:
            wanted += _weights(client, repository, revision, names)
        patterns = [name.replace("[", "[[]") for name in wanted]
        return Path(client.snapshot_download(repository, revision=revision, allow_patterns=patterns))


def _weights(client: Any, repository: str, revision: str, names: Sequence[str]) -> list[str]:
    found = weight_names(names, repository)
    if found == [INDEX]:
        index = Path(client.hf_hub_download(repository, INDEX, revision=revision))
        found += sorted(set(shard_names(index).values()))
    return found


def fetch_file(
    repository: str, file: str, revision: str | None, visible: bool, cache: Path | None = None
) -> Path:
    """Download one file, into the hub's own cache or another; not again where it is already there.

    Raises:
        ModelNotFound: as for `fetch_snapshot`.
    """
    if not file.endswith(ALLOWED):
        raise ModelUnsupported(f"{shown(file)} is not of a kind that is ever fetched ({', '.join(ALLOWED)})")
    with _client(repository, _checked(revision), visible) as client:
        # asked first because it fails at once without a network; the download would try for 20 seconds
        client.HfApi().model_info(repository, revision=_checked(revision), timeout=TIMEOUT_S)
        return Path(client.hf_hub_download(repository, file, revision=_checked(revision), cache_dir=cache))


def weight_names(names: Sequence[str], repository: str) -> list[str]:
    """Which of a repository's files hold the weights: one safetensors file, an index, or one GGUF file.

    Raises:
        ModelUnsupported: pickles only, or several GGUF files.
        ModelNotFound: no weights at all.
    """
    top = [name for name in names if "/" not in name]
    for single in (SINGLE, INDEX):
        if single in top:
            return [single]
    ggufs = sorted(name for name in top if name.endswith(".gguf"))
    if len(ggufs) == 1:
        return ggufs
    choose_gguf(ggufs, repository)
    refuse_pickles(top, repository)
    raise ModelNotFound(f"{repository} holds neither {SINGLE} nor a .gguf file; choose another repository")


def _checked(revision: str | None) -> str:
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise ValueError(f"revision must be a branch, a tag or a commit, got {shown(revision)}")
    return revision or "main"


@contextmanager
def _client(repository: str, revision: str, visible: bool) -> Iterator[Any]:
    """The hub's client with its bars as wanted and its errors told in one line."""
    import logging

    try:
        import huggingface_hub as client
        import huggingface_hub.utils
    except ImportError as error:
        raise MissingDependency("a model from the hub", "pip install huggingface_hub") from error
    bars: Any = client.utils
    silenced = not visible and not bars.are_progress_bars_disabled()
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)  # advice about tokens and symlinks, which nobody asked for
    if silenced:
        bars.disable_progress_bars()
    try:
        yield client
    except (ModelNotFound, ModelUnsupported):
        raise
    except Exception as error:
        # the one boundary to a client whose errors come from three libraries, others in each version
        raise ModelNotFound(_reason(error, repository, revision)) from error
    finally:
        logger.setLevel(level)
        if silenced:
            bars.enable_progress_bars()


def _reason(error: Exception, repository: str, revision: str) -> str:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "GatedRepoError" in kinds:
        return f"{repository} is gated; accept its licence on the hub and set HF_TOKEN"
    if "RevisionNotFoundError" in kinds:
        return f"{repository} has no revision {shown(revision)}; check the name"
    if "RepositoryNotFoundError" in kinds:
        return (
            f"no model {shown(repository)} here or on the hub (or it is private and HF_TOKEN is not set); "
            "give a folder, a .gguf file, an id such as org/name, or smollm2"
        )
    if "RemoteEntryNotFoundError" in kinds:
        return f"{repository} lacks a file that was asked for; check the name"
    if isinstance(error, OSError) and error.errno in STORAGE_ERRORS:
        return f"{repository} cannot be stored ({error.strerror}); free some space, or set HF_HOME"
    offline = "OfflineModeIsEnabled" in kinds or os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")
    why = "HF_HUB_OFFLINE is set" if offline else f"the hub cannot be reached ({type(error).__name__})"
    return (
        f"{repository} could not be fetched: {why}; with a network run `tokenglass models pull "
        f"{repository}`, without one `tokenglass models add FILE` with a GGUF of it"
    )
