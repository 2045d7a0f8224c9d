"""What `headrace doctor` says of the notifier: whether hints really come back by it."""

from typing import TYPE_CHECKING, Final

from headrace.cli.checks import Check, fail, ok

if TYPE_CHECKING:
    from headrace.app import Headrace

PATIENCE_S: Final = 5.0
LOOK_S: Final = 0.02
UNPROBED: Final = {
    "none": "none: processes find work by polling",
    "local": "hints go from process to process on this machine",
}


async def check_notifier(hr: "Headrace") -> Check:
    """What an open app's notifier has felt by now, or feels within some seconds."""
    if hr.notifier.health.working is None:
        kind = hr.notifier.health.kind
        return ok("notifier", UNPROBED.get(kind, kind))
    began = hr.clock.now()
    while not hr.notifier.working and hr.clock.now() - began < PATIENCE_S:
        await hr.clock.sleep(LOOK_S)
    health = hr.notifier.health
    if health.working and health.echo_s is not None:
        return ok("notifier", f"hints go by {health.kind}, and a probe was back in {health.echo_s * 1000:.1f} ms")
    trouble = health.trouble or "no hint comes back"
    return fail("notifier", f"{trouble}; processes find work by polling, which is slower",
                "mend HEADRACE_NOTIFIER or what it leads to; unset, hints go by what goes with the store")  # fmt: skip
