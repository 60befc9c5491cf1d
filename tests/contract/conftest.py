"""Engines for the contract suite: opened for a test, closed after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.contract.subjects import SUBJECTS, Subject
from tokenglass.engines.base import Engine


@pytest.fixture(scope="module", params=list(SUBJECTS))
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    if request.param != "table":
        pytest.importorskip("transformers")
    made = SUBJECTS[request.param](tmp_path_factory.mktemp(request.param))
    yield made
    made.close()


@pytest.fixture
def cold(subject: Subject) -> Iterator[Callable[[], Engine]]:
    """Opens engines that have read nothing yet."""
    opened: list[Engine] = []

    def fresh() -> Engine:
        opened.append(subject.open())
        return opened[-1]

    yield fresh
    for engine in opened:
        engine.close()


@pytest.fixture
def engine(cold: Callable[[], Engine]) -> Engine:
    """One that has read nothing yet."""
    return cold()
