"""The task that needs the upstream; worker processes load it as `bench.upstreams.app:hr`."""

import os

from headrace import Breaker, Headrace, Retry, Task

PORT_VARIABLE = "HEADRACE_BENCH_UPSTREAM_PORT"
AT_ONCE = 20
BREAKER = Breaker(
    minimum_number_of_calls=20,
    wait_duration_in_open_state=2,
    permitted_number_of_calls_in_half_open_state=10,
    ramp=2,
)


class App:
    """A Headrace with an upstream and the task that needs it."""

    def __init__(self, store: str | None = None) -> None:
        self.hr = Headrace(store)
        self.bank = self.hr.upstream("bank", breaker=BREAKER, max_concurrency=AT_ONCE, timeout=5)

        async def pay(n: int) -> None:
            async with self.bank.client(base_url=f"http://127.0.0.1:{os.environ[PORT_VARIABLE]}") as http:
                (await http.post("/", json={"n": n})).raise_for_status()

        self.pay: Task[[int], None] = self.hr.task(needs=[self.bank], retry=Retry(max_attempts=2))(pay)


def __getattr__(name: str) -> Headrace:
    """`hr` is made when a worker asks for it."""
    if name == "hr":
        return App().hr
    raise AttributeError(name)
