"""Keys of limits and of fair shares: which parameter, what they come to, what is refused."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import Depends
from pydantic import BaseModel

from headrace import Headrace, Injected, InvalidConfig, JobContext, Limit, RateLimit, UsageError
from headrace.app.task import new_job
from headrace.core.limits import TaskLimit
from headrace.core.order import MESSAGE_KEY, lane_of


class Plan(StrEnum):
    FREE = "free"


class Invoice(BaseModel):
    tenant: str


def tenants_of(hr: Headrace, task: Any, *args: Any, **kwargs: Any) -> str:
    return new_job(task.call(*args, **kwargs), hr).lane_key


@pytest.fixture
def hr() -> Headrace:
    return Headrace("memory://")


def test_a_key_is_a_parameter_of_the_task(hr: Headrace) -> None:
    @hr.task(concurrency=Limit(2, key="tenant"))
    async def charge(ctx: JobContext, invoice: int, tenant: str = "none") -> None: ...

    assert tenants_of(hr, charge, 7, "acme") == "acme"
    assert tenants_of(hr, charge, 7, tenant="acme") == "acme"
    assert tenants_of(hr, charge, 7) == "none"
    assert charge.definition.limit is not None


@pytest.mark.parametrize(
    ("annotation", "value", "key"),
    [
        (int, 7, "7"),
        (int, -1, "-1"),
        (str, "", ""),
        (str, "köln", "köln"),
        (Plan, Plan.FREE, "free"),
        (UUID, UUID(int=7), str(UUID(int=7))),
        (str | None, None, ""),
    ],
)
def test_texts_numbers_and_what_is_like_them(hr: Headrace, annotation: Any, value: Any, key: str) -> None:
    async def charge(tenant: Any) -> None: ...

    charge.__annotations__["tenant"] = annotation
    assert tenants_of(hr, hr.task(fair_by="tenant")(charge), value) == key


def test_a_key_may_be_a_function_of_some_parameters_by_their_names(hr: Headrace) -> None:
    @hr.task(fair_by=lambda invoice, region: f"{region}/{invoice.tenant}")
    async def charge(ctx: JobContext, invoice: Invoice, note: str = "", region: str = "eu") -> None: ...

    assert tenants_of(hr, charge, Invoice(tenant="acme")) == "eu/acme"


async def test_what_comes_as_json_has_its_key_too(hr: Headrace) -> None:
    @hr.task(public=True, rate=RateLimit(2, 1, key="tenant"))
    async def charge(ctx: JobContext, tenant: int) -> None: ...

    assert new_job(hr.raw_call("charge", {"tenant": 7}), hr).lane_key == "7"


def test_a_task_without_keys_has_one_lane(hr: Headrace) -> None:
    @hr.task(concurrency=Limit(2), rate=RateLimit(2, 1))
    async def charge(ctx: JobContext, tenant: int) -> None: ...

    assert tenants_of(hr, charge, 7) == ""


@pytest.mark.parametrize("value", ["a\nb", "k" * 257, "\x1f"])
def test_a_key_that_cannot_be_one_is_refused_at_enqueue(hr: Headrace, value: str) -> None:
    @hr.task(fair_by="tenant")
    async def charge(tenant: str) -> None: ...

    with pytest.raises(UsageError, match="at most 256 printable characters"):
        tenants_of(hr, charge, value)


def test_so_is_one_of_another_type(hr: Headrace) -> None:
    @hr.task(fair_by="tenant")
    async def charge(tenant: list[int]) -> None: ...

    with pytest.raises(UsageError, match=r"its key is a text or a whole number, not \[7\]"):
        tenants_of(hr, charge, [7])


SessionDep = Annotated[int, Depends(int)]


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        ({"concurrency": Limit(2, key="tennant")}, "'tennant', which callers do not give.* are: invoice, tenant"),
        ({"rate": RateLimit(2, 1, key="session")}, "'session', which callers do not give"),
        ({"fair_by": "ctx"}, "'ctx', which callers do not give"),
        ({"fair_by": lambda nobody: nobody}, "'nobody', which callers do not give"),
        ({"fair_by": lambda: 1}, "takes some of the task's parameters by their names"),
        ({"fair_by": lambda *args: 1}, "takes some of the task's parameters by their names"),
        ({"fair_by": 7}, "fair_by is the name of a parameter"),
        ({"concurrency": 5}, r"concurrency is a Limit, as in Limit\(5\), not 5"),
        ({"rate": 5}, "rate is a RateLimit"),
        ({"concurrency": Limit(2, key="tenant"), "fair_by": "invoice"}, "its keys differ .* give all of them the same"),
        ({"ordered_by": 7}, "ordered_by is the name of a parameter"),
        ({"ordered_by": "nobody"}, "limits, fair_by or ordered_by is of the parameter 'nobody'"),
        (
            {"ordered_by": "tenant", "concurrency": Limit(2, key="tenant")},
            r"one job of a key .* Limit\(5\) without a key=",
        ),
        ({"ordered_by": "tenant", "rate": RateLimit(2, 1, key="tenant")}, "leave the rate's key= out"),
        ({"ordered_by": MESSAGE_KEY, "fair_by": "tenant"}, "leave fair_by out"),
        ({"ordered_by": "tenant", "ordered_lanes": 257}, "ordered_lanes must be .* 256"),
        ({"ordered_by": "tenant", "ordered_lanes": 0}, "ordered_lanes"),
    ],
)
def test_what_cannot_work_is_refused_at_definition(hr: Headrace, policies: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):

        @hr.task(**policies)
        async def charge(ctx: JobContext, invoice: int, tenant: str, *, session: SessionDep = Injected) -> None: ...


def test_a_key_that_all_policies_share_is_one_key(hr: Headrace) -> None:
    @hr.task(concurrency=Limit(2), rate=RateLimit(5, 1, key="tenant"), fair_by="tenant")
    async def charge(tenant: str) -> None: ...

    assert tenants_of(hr, charge, "acme") == "acme"


def test_jobs_of_an_ordered_task_go_to_the_lane_of_their_key(hr: Headrace) -> None:
    @hr.task(ordered_by="tenant", concurrency=Limit(5), rate=RateLimit(5, 1))
    async def charge(invoice: int, tenant: str) -> None: ...

    @hr.task(ordered_by=lambda tenant, region: f"{region}/{tenant}", ordered_lanes=7)
    async def rebuild(tenant: str, region: str = "eu") -> None: ...

    @hr.task(ordered_by=MESSAGE_KEY)
    async def take(invoice: int) -> None: ...

    assert tenants_of(hr, charge, 7, "acme") == lane_of("acme") == tenants_of(hr, charge, 8, "acme")
    assert tenants_of(hr, rebuild, "acme") == lane_of("eu/acme", 7)
    assert tenants_of(hr, take, 7) == lane_of("")
    assert take.definition.lane_key("{}", "acme") == lane_of("acme")
    assert charge.definition.limit == TaskLimit("charge", Limit(5), RateLimit(5, 1), ordered=True)
    assert take.definition.limit == TaskLimit("take", ordered=True)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"delay": 1}, "delay"),
        ({"run_at": datetime(2030, 1, 1, tzinfo=UTC)}, "run_at"),
        ({"priority": 5}, "priority"),
        ({"queue": "mail", "delay": 1}, "delay and queue"),
    ],
)
def test_what_would_break_the_order_is_refused_at_enqueue(hr: Headrace, options: dict[str, Any], named: str) -> None:
    @hr.task(ordered_by="tenant", queue="billing", priority=3)
    async def charge(tenant: str) -> None: ...

    with pytest.raises(UsageError, match=f"task charge is ordered: .* which {named} would change; leave it out"):
        new_job(charge.options(**options).call("acme"), hr)
    same = charge.options(delay=0, priority=3, queue="billing", key="k", tags=["t"], timeout=5, deadline=60)
    assert new_job(same.call("acme"), hr).priority == 3
