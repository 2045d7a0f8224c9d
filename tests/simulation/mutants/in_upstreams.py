# ruff: noqa: E501 - an edit shows whole lines
"""Safeguards of upstreams: of their document, of each process's side of it, and of the workers that they hold."""

from functools import partial

from headrace.testing.sim import World
from headrace.testing.sim.checkers.held import UNREACHED
from headrace.testing.sim.scenario import Scenario
from tests.simulation.mutants.edits import edit
from tests.simulation.mutants.kinds import CRASHES, sim, where_any

FLEET = "core.fleet:Fleet"
CORE = "core.upstream:UpstreamCore"


def crowded(scenario: Scenario) -> bool:
    """Worlds in which many call at once what takes only some."""
    outages = scenario.outages
    return outages is not None and outages.callers > 1 and any((plan.most or 0) > 1 for plan in outages.plans)


def adaptive(scenario: Scenario) -> bool:
    """Worlds in which many call at once where a process bounds its calls by itself."""
    outages = scenario.outages
    return (
        outages is not None
        and outages.callers > 1
        and any(policy.adaptive is not None for plan in outages.plans for policy in plan.policies.values())
    )


def prompt(scenario: Scenario) -> bool:
    """Worlds in which workers die, and the store can be reached all the time."""
    return CRASHES(scenario) and not where_any(*UNREACHED)(scenario)


def slow_services(world: World) -> None:
    """Every call takes its time."""
    assert world.outside is not None
    for service in world.outside.services.values():
        service.answers = lambda: (3.0 if world.troubled else 0.1, True)  # type: ignore[method-assign]


def long_silence(world: World) -> None:
    """A machine is cut off from the store for longer than anything is lent."""
    machine = world.machines[0]

    def cut(*, off: bool) -> None:
        machine.cut_off = off

    world.timeline.at(5.0, partial(cut, off=True))
    world.timeline.at(75.0, partial(cut, off=False))


MUTANTS = (
    sim(
        "outcomes take the place of permits",
        "At half-open, probes that have ended count among those that are permitted.",
        edit(f"{FLEET}._grant", ("out = self.probed.calls + len", "out = len")),
        upstreams=True, bound=90, breaks=("half-open lets through what is permitted",),
    ),
    sim(
        "permits are the fleet's",
        "At half-open no call goes without a permit that the store has granted.",
        edit(f"{CORE}.acquire", ("default=None", "default=f'{self._process}/0'")),
        upstreams=True, bound=30, breaks=("half-open lets through what is permitted",),
    ),
    sim(
        "another generation changes nothing",
        "A call counts only in the generation in which it began.",
        edit(f"{CORE}.end", ("if ticket.generation in {self.generation, self._before}:", "if True:")),
        upstreams=True, bound=60, breaks=("breakers count what calls came to",),
    ),
    sim(
        "a slot that is in use is kept",
        "A process keeps the slots that it says it uses, whatever its fair share is.",
        edit(f"{FLEET}.hear", ("max(said.held, self._fair(said.process, terms.max_concurrency))", "self._fair(said.process, terms.max_concurrency)")),
        upstreams=True, worlds=crowded, befalls=slow_services, bound=60, breaks=("calls at once fit max_concurrency",),
    ),
    sim(
        "a slice ends with its lease",
        "A process that has not reached the store for a while has no slots.",
        edit("core.upstream_parts:Slots.limit", ("if now < self.lapses_at else 0", "")),
        upstreams=True, befalls=long_silence, bound=60, breaks=("calls at once fit max_concurrency",), slow=True,
    ),
    sim(
        "retries fit their budget",
        "A process tries again no more often than a share of its calls, and a floor, allow.",
        edit("core.budget:Budget.try_withdraw", ("if self.balance(now) < 1:", "if False:")),
        upstreams=True, bound=60, breaks=("retries fit their budget, and calls an adaptive limit",), slow=True,
    ),
    sim(
        "an adaptive limit holds",
        "A process has no more calls under way than its adaptive limit lets go.",
        edit(f"{CORE}.bounded", ("self.in_flight >= self._adaptive.limit", "False")),
        upstreams=True, worlds=adaptive, bound=240, breaks=("retries fit their budget, and calls an adaptive limit",),
    ),
    sim(
        "the dead hold nothing",
        "What a worker's process was lent is free as soon as its supervisor has seen it end.",
        edit("runtime.relays:let_go", ('await safely(partial(forget, store, process), "upstreams")', "pass")),
        upstreams=True, worlds=prompt, bound=60, breaks=("the dead hold nothing of an upstream",),
    ),
    sim(
        "what is cancelled is no outcome",
        "A call that was cancelled counts neither as well nor as failed.",
        edit("runtime.guard:CallPermit.ignored", ("failed=None", "failed=True")),
        upstreams=True, bound=30, breaks=("breakers count what calls came to",),
    ),
    sim(
        "held tasks are left out of the claim",
        "A worker claims no job whose task an open breaker holds.",
        edit("core.worker_pools:Appetite.restrain", ("self._allowances = allowances", "allowances = self._allowances")),
        upstreams=True, bound=60, breaks=("held jobs wait",), slow=True,
    ),
    sim(
        "a worker asks before it starts",
        "A job whose task needs an upstream starts only if its breaker lets it.",
        edit("runtime.worker:Worker._start", ("if self._needs is not None and not", "if False and not")),
        upstreams=True, bound=30, breaks=("held jobs wait",),
    ),
    sim(
        "an attempt that ends gives its permit up",
        "The end of an attempt ends its permit.",
        edit("runtime.needs:Needs.ended", ("guard.end_attempt(attempt)", "pass")),
        upstreams=True, bound=60, breaks=("calls leave nothing behind", "acknowledged jobs end"),
    ),
    sim(
        "an outage is no failure of the job",
        "What fails because of a needed upstream waits, and keeps its retries.",
        edit("runtime.bodies:Bodies._ended_by", ("if blamed is not None and blamed[0] in task.needs:", "if False:")),
        upstreams=True, bound=30, breaks=("outages burn no attempts",),
    ),
    sim(
        "who waits no longer leaves the line",
        "A call that is cancelled while it waits for its turn gives its place up.",
        edit("runtime.guard:_Entry.in_line", ("except BaseException:\n        self._guard.leave_line(turn, self._refused)", "except BaseException:")),
        upstreams=True, bound=120, breaks=("calls leave nothing behind", "acknowledged jobs end", "jobs wait only for what they need"),
    ),
    sim(
        "permits that nobody uses go back",
        "The fleet hears at once of permits that a process has no use for.",
        edit(f"{CORE}.due", ("or permits.given_up ", "")),
        edit("runtime.upstreams:Upstreams._turn", ("guard.core.drop_free_permits(self._clock.now(), UNUSED_S)", "pass")),
        upstreams=True, bound=240, breaks=("acknowledged jobs end", "jobs wait only for what they need"),
    ),
)  # fmt: skip
