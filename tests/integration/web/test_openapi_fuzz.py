"""The published description holds: whatever a fuzzer makes of it, there is no 500 and no undocumented answer."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.web.conftest import Serve
from tests.integration.web.test_http import ROUTES

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
BOUNDED = settings(
    max_examples=15, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def fuzz(url: str, headers: dict[str, str]) -> int:
    """Try every operation; how many there were."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    count = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @BOUNDED
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            case.call_and_validate(checks=CHECKS, headers=headers)

        holds()
        count += 1
    return count


@pytest.mark.nightly
def test_without_auth(serve: Serve) -> None:
    served = serve(auth="off", config={"proxy_headers": False}, pending_s=0.2)
    assert fuzz(f"http://127.0.0.1:{served.port}", {}) == len(ROUTES) + 4


def test_with_a_key(serve: Serve) -> None:
    served = serve(pending_s=0.2)
    headers = {"Authorization": f"Bearer {served.key()}"}
    assert fuzz(f"http://127.0.0.1:{served.port}", headers) == len(ROUTES) + 4


def test_without_a_credential(serve: Serve) -> None:
    served = serve(pending_s=0.2, workers=0)
    assert fuzz(f"http://127.0.0.1:{served.port}", {}) == len(ROUTES) + 4
