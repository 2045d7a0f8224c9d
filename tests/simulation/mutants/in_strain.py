"""Safeguards of what is let in under too many jobs, and of what live feeds give up on a late loop."""

from headrace.testing.sim import World
from headrace.testing.sim.scenario import Scenario
from tests.simulation.mutants.edits import edit
from tests.simulation.mutants.kinds import sim

ADMISSION = "core.admission:Admission"
CLIMBER = "core.ladder:Climber"
BOUNDED = "queues hold what their policy lets in"
ORDER = "the lowest priority is refused first, and none once nothing waits"
AGAIN = "who was refused and comes again gets in"
STEPS = "live feeds give up step by step, and take it back"
LATE = "news comes late under pressure, and comes"


def bounded(scenario: Scenario) -> bool:
    """Worlds with a queue whose depth is bounded."""
    return scenario.strain is not None and any(policy.depth_max for policy in scenario.strain.policies.values())


def aged(scenario: Scenario) -> bool:
    """Worlds with a queue that refuses by age alone, so that it can grow old."""
    policies = () if scenario.strain is None else scenario.strain.policies.values()
    return any(policy.age_target_s and not policy.depth_max for policy in policies)


def blocked(scenario: Scenario) -> bool:
    """Worlds whose loops are late."""
    return scenario.strain is not None and scenario.strain.block_s is not None


def late_and_nothing_else(scenario: Scenario) -> bool:
    """Worlds whose loops are late, and that suffer no fault."""
    return blocked(scenario) and not scenario.faults


def idle_workers(world: World) -> None:
    """Workers stand still for a while: what is let in grows old."""

    def stop() -> None:
        for child in [child for tree in world.trees for child in tree.children]:
            child.pause(IDLE_S)

    for at in (3.0, 30.0):
        world.timeline.at(at, stop)


IDLE_S = 20.0

MUTANTS = (
    sim(
        "what was let in counts",
        "A process counts what it has let in itself since it asked the store.",
        edit(f"{ADMISSION}.admitted", ("self._added[priority] = self._added.get(priority, 0) + count", "pass")),
        strained=True, worlds=bounded, bound=60, breaks=(BOUNDED,),
    ),
    sim(
        "old counts refuse nobody",
        "A count that is older than a tenth of a second makes no queue full.",
        edit("app.gate:Gate.admit", ("and not self._fresh", "and False")),
        strained=True, worlds=bounded, bound=60, breaks=(BOUNDED,),
    ),
    sim(
        "lower priorities go first",
        "Where a priority is refused by age, lower ones are refused whole.",
        edit(f"{ADMISSION}.share", ("1.0 if priority < self._level", "0.0 if priority < self._level")),
        strained=True, worlds=aged, befalls=idle_workers, bound=240, breaks=(ORDER,),
    ),
    sim(
        "refusing by age ends",
        "A queue that was not late for an interval refuses a priority fewer.",
        edit(f"{ADMISSION}._adjust", ("level = known[at - 1] if at else None", "pass")),
        strained=True, worlds=aged, befalls=idle_workers, bound=60, breaks=(ORDER, AGAIN),
    ),
    sim(
        "one long turn moves nothing",
        "Live feeds give something up only when a loop has been late for a while.",
        edit(f"{CLIMBER}._called_for", ("now - since >= self._ladder.levels[at - 1].rise_s", "True")),
        strained=True, worlds=blocked, bound=60, breaks=(STEPS,),
    ),
    sim(
        "a level is held",
        "What live feeds have given up they take back after a while in time, one level at a time.",
        edit(f"{CLIMBER}._fall", ("now - self._under_since >= level.fall_s", "True")),
        strained=True, worlds=blocked, bound=60, breaks=(STEPS,),
    ),
    sim(
        "readers are told later, not never",
        "Of news that readers are not told at once they are told at the end of the pace.",
        edit("runtime.reader:_LoopReader._ring", ("self._behind.update(dict.fromkeys(jobs))", "pass")),
        strained=True, worlds=late_and_nothing_else, bound=240, breaks=(LATE,),
    ),
    sim(
        "only the last level turns readers away",
        "Readers are turned away at the last level only.",
        edit("runtime.pressure:Pressure.closed", ("self.level == len(LADDER.levels)", "self.level > 0")),
        strained=True, worlds=blocked, bound=120, breaks=(STEPS,),
    ),
)  # fmt: skip
