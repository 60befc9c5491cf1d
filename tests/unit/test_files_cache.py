"""The cache folder's lock, its temporary folders, and the bar that a person sees."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path

import pytest

from tokenglass.errors import ModelNotFound
from tokenglass.files import cache, progress


def test_workshop_removes_what_killed_runs_left_and_then_itself(tmp_path: Path) -> None:
    stale = tmp_path / f"{cache.TEMPORARY}old" / "deep"
    stale.mkdir(parents=True)
    (stale / "x.gguf").write_text("half")
    with cache.workshop(tmp_path) as temporary:
        assert not stale.parent.exists() and temporary.parent == tmp_path
        (temporary / "x").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_workshop_is_for_one_at_a_time_and_tells_who_waits(tmp_path: Path) -> None:
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        with cache.workshop(tmp_path, waiting.set):
            order.append("second")

    with cache.workshop(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_sweep_leaves_a_folder_alone_where_somebody_is_at_work(tmp_path: Path) -> None:
    with cache.workshop(tmp_path) as temporary:
        cache.sweep(tmp_path)
        assert temporary.exists()
    (tmp_path / f"{cache.TEMPORARY}old").mkdir()
    cache.sweep(tmp_path)
    assert not (tmp_path / f"{cache.TEMPORARY}old").exists()
    cache.sweep(tmp_path / "none")


def test_workshop_maps_a_full_disk_and_cleans_up(tmp_path: Path) -> None:
    with (
        pytest.raises(
            ModelNotFound, match=r"nothing can be stored in '.*' \(No space left on device\); free some"
        ),
        cache.workshop(tmp_path),
    ):
        raise OSError(28, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_copy_hashed_stops_at_the_limit(tmp_path: Path) -> None:
    """SHA-256 of b"abc" is the first example of FIPS 180-2."""
    size, digest = cache.copy_hashed(io.BytesIO(b"abc"), tmp_path / "a", 3)
    assert (size, digest[:16], (tmp_path / "a").read_bytes()) == (3, "ba7816bf8f01cfea", b"abc")
    with pytest.raises(ValueError, match="more than 2 bytes"):
        cache.copy_hashed(io.BytesIO(b"abc"), tmp_path / "b", 2)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("terminal", "wanted", "visible"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_bar_is_for_terminals(
    terminal: bool, wanted: bool, visible: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress.bar("fetching [/tiny]", wanted) as bar:
        bar.waiting()
        bar.advance(3_000_000, 4_000_000)
        bar.advance(4_000_000, 4_000_000)
    assert bar.visible is visible
    shown = screen.getvalue()
    assert ("fetching [/tiny]" in shown and "4.0/4.0 MB" in shown) if visible else shown == ""
