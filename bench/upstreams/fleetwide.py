"""How soon a fleet knows: from the trip in one process until the last of the others refuses."""

import asyncio

from bench.run import median
from bench.upstreams.fleet import Fleet
from bench.upstreams.run import Run
from headrace import Headrace

START_S = 60.0


async def _trips(run: Run, url: str, name: str) -> list[float]:
    hr = Headrace(url)
    await hr.open()
    count = run.scale.processes
    waits = []
    with Fleet(count, "fleetwide", url, run.folder(f"fleetwide-{name}") / "log") as fleet:
        for trip in range(run.scale.trips):
            closed: set[int] = set()
            while len(closed) < count:
                at, news = await asyncio.to_thread(fleet.next, START_S)
                if news.get("open") is False:
                    closed.add(at)
            await asyncio.sleep(0.3 + 0.1 * (trip % 5))  # not always at the same moment of their looks
            fleet.say(trip % count)
            tripped, opened = 0.0, dict[int, float]()
            while not tripped or len(opened) < count:
                at, news = await asyncio.to_thread(fleet.next, START_S)
                tripped = news.get("tripped", tripped)
                if news.get("open"):
                    opened[at] = news["at"]
            waits.append(max(0.0, max(opened.values()) - tripped))
            await hr.force_upstream("bank", "close")
    await hr.close()
    return waits


def measure(run: Run) -> None:
    for name, url in (
        ("postgres", run.postgres.create_database()),
        ("sqlite", f"sqlite:///{run.folder('fleetwide') / 'headrace.db'}"),
    ):
        waits = asyncio.run(_trips(run, url, name))
        run.put(f"upstream.open_fleetwide_{name}_median_s", median(waits))
        run.put(f"upstream.open_fleetwide_{name}_s", max(waits))
    run.put("upstream.open_fleetwide_processes", run.scale.processes)
    run.put("upstream.open_fleetwide_trips", run.scale.trips)
    run.put("upstream.open_fleetwide_s", run.keys["upstream.open_fleetwide_postgres_s"])
