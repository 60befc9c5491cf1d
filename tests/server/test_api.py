"""The OpenAPI document against the server: whatever is sent, no defect, and answers as it has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.conftest import FULL
from tests.server.world import asked, bench, guarded, served
from tokenglass.server.running import Address
from tokenglass.workbench import OPERATIONS, Workbench

EXAMPLES = 100 if FULL else 5
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
# Nobody waits for 4,096 tokens of a generated request.
SHORT = {"max_new_tokens": 4, "max_length": 8, "count": 4, "limit": 20, "depth": 2, "samples": 3}

bench_of_bytes = bench()  # makes the list of operations that the tests go through


@pytest.fixture(scope="module")
def server() -> Iterator[Address]:
    with served(bench_of_bytes) as address:
        yield address


@pytest.fixture(scope="module")
def document() -> Any:
    return asked(guarded(bench_of_bytes), "GET", "/api/openapi.json").row


def test_the_document_names_every_operation(document: Any) -> None:
    assert set(document["paths"]) == {f"/api/{name}" for name in OPERATIONS}
    for path in document["paths"].values():
        answers = path["post"]["responses"]
        assert {"200", "400", "401", "403", "404", "413", "422", "429"} <= set(answers)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", list(OPERATIONS))
def test_whatever_is_sent_finds_no_defect(server: Address, document: Any, name: str, mode: Any) -> None:
    """Requests made from the document, right and wrong ones; those with a session name one that is open."""
    if mode is MODES[1] and not OPERATIONS[name].params:
        pytest.skip("it takes nothing that could be wrong but a field that is not there")
    operation = schemathesis.openapi.from_dict(document)[f"/api/{name}"]["POST"]
    session = _open(bench_of_bytes)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=not FULL,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        if mode is MODES[0] and isinstance(case.body, dict) and "session" in case.body:
            case.body["session"] = session
        _shorten(case.body)
        headers = {"authorization": f"Bearer {server.token}"}
        answer = case.call(base_url=server.site.rstrip("/"), headers=headers)
        # 413 refuses what is too long before it is read; the library does not count it among refusals
        too_long = answer.status_code == 413
        checks = [each for each in CHECKS if not (too_long and each is negative_data_rejection)]
        case.validate_response(answer, checks=checks)

    run()


def _open(over: Workbench) -> str:
    config = {"do_sample": True, "seed": 1}
    return str(over.call("open", {"prompt": "a", "config": config})["session"])


def _shorten(value: Any) -> None:
    if isinstance(value, dict):
        for name in SHORT.keys() & value.keys():
            if isinstance(value[name], int) and value[name] > SHORT[name]:
                value[name] = SHORT[name]
        for inner in value.values():
            _shorten(inner)
