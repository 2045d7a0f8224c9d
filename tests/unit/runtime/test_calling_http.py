import httpx
import pytest

from headrace.runtime.calling_http import retry_after_s
from headrace.runtime.clock import SystemClock


class At(SystemClock):
    def wall(self) -> float:
        return 1_700_000_000.0  # 2023-11-14 22:13:20


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("Fri, 31 Dec 2999 23:59:59 GMT", 86_400.0),
        ("9" * 400, 86_400.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("Tue, 99 Nov 2023 22:14:20 GMT", None),
    ],
)
def test_retry_after(text: str, found: float | None) -> None:
    response = httpx.Response(503, headers={"Retry-After": text.encode()})  # type: ignore[dict-item]
    assert retry_after_s(response, At()) == found


def test_none() -> None:
    assert retry_after_s(httpx.Response(503), At()) is None
