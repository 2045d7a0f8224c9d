"""The blocks of the page on transactions that need PostgreSQL, run as a reader would paste them."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from servers.postgres import Postgres
from tests.integration.joins.kit import dialect

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "transactions.md"
SKIPPED = re.compile(r"<!-- skip: next -->\n```python\n(.*?)```", re.DOTALL)


async def test_the_page_does_what_it_says(shop_url: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres.sql("CREATE TABLE invoice (id integer, paid boolean)", shop_url.rpartition("/")[2])
    monkeypatch.setitem(os.environ, "HEADRACE_STORE", shop_url)
    monkeypatch.setitem(os.environ, "DATABASE_URL", dialect(shop_url, "asyncpg"))
    monkeypatch.setitem(os.environ, "PSYCOPG_DSN", shop_url)
    blocks = SKIPPED.findall(PAGE.read_text("utf-8"))
    assert len(blocks) == 2
    page: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), page)
    hr = page["hr"]

    def paid() -> str:
        return postgres.sql("SELECT id, paid FROM invoice", shop_url.rpartition("/")[2]).strip()

    transport = ASGITransport(page["app"])
    async with AsyncClient(transport=transport, base_url="http://localhost") as client, hr.embedded(1):
        answer = await client.post("/invoices/7/charge")
        assert answer.status_code == 202, answer.text
        assert await hr.job(answer.json()["id"], str).result(timeout=20) == "paid"
        assert paid() == "7|t"
        refund = await page["refund"].enqueue(7)
        assert await refund.result(timeout=20) == "refunded"
        assert paid() == "7|f"
    await page["engine"].dispose()
    await hr.close()
