"""The notifier that rings nowhere."""

import asyncio

from headrace.notifiers.none import NoNotifier
from headrace.ports.notifier import Hint, Notifier


async def test_nothing_is_ever_heard() -> None:
    notifier: Notifier = NoNotifier()
    heard: list[frozenset[Hint]] = []
    await notifier.start()
    unsubscribe = notifier.subscribe(("queue:", "job:", "cancel"), heard.append)
    notifier.publish(["queue:default", "cancel"])
    await asyncio.sleep(0.01)
    unsubscribe()
    await notifier.stop()
    assert heard == []
    assert not notifier.wants("job:")
