"""`headrace worker --metrics-port`: one route beside the supervisor, whose faults are not the supervisor's."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator, Generator, Iterable
from typing import TYPE_CHECKING, Final

from headrace.cli.fail import Fail
from headrace.ports.observer import Moment

if TYPE_CHECKING:
    import uvicorn

    from headrace.app import Headrace
    from headrace.ports.notifier import Health
    from headrace.runtime.supervisor import Supervisor
    from headrace.runtime.ward import Ward

log = logging.getLogger(__name__)

REQUESTS_MAX: Final = 16  # at a time


def check_installed() -> None:
    """Refuse to begin without the package.

    Raises:
        Fail: names it.
    """
    from headrace.app.metrics import installed

    if not installed():
        raise Fail(
            "metrics need a package that is not here",
            'pip install "headrace[metrics]", or leave out --metrics-port and HEADRACE_METRICS_PORT',
        )


@contextlib.asynccontextmanager
async def served(hr: "Headrace", supervisor: "Supervisor", listening: socket.socket | None) -> AsyncGenerator[None]:
    """Answer `GET /metrics` on the socket for as long as the supervisor runs; None: nowhere."""
    if listening is None:
        yield
        return
    server = _server(hr, supervisor)
    serving = asyncio.get_running_loop().create_task(_serve(server, listening))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


async def _serve(server: "uvicorn.Server", listening: socket.socket) -> None:
    try:
        await server.serve(sockets=[listening])
    except Exception:
        log.exception("metrics are not served any more; the workers go on")


def _server(hr: "Headrace", supervisor: "Supervisor") -> "uvicorn.Server":
    import uvicorn

    from headrace.web.install import metrics_app

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            yield  # they are the supervisor's

    return Server(
        uvicorn.Config(
            metrics_app(hr, lambda: moment(supervisor.wards, hr.clock.now(), hr.notifier.health)),
            log_config=None,
            log_level=logging.WARNING,
            access_log=False,
            lifespan="off",
            limit_concurrency=REQUESTS_MAX,
            proxy_headers=hr.settings.auth != "off",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )


def moment(wards: "Iterable[Ward]", now: float, notifier: "Health") -> Moment:
    """What the children's signs of life say, and how well this process hears."""
    ages: dict[str, float] = {}
    for ward in wards:
        beat_at = ward.beat.beat_at
        age_s = max(0.0, now - beat_at) if beat_at else 0.0  # who runs nothing does not beat
        ages[ward.role] = max(ages.get(ward.role, 0.0), age_s)
    return Moment(loop_age_s=ages, notifier=notifier)
