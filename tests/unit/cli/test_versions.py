"""Workers of different versions are told apart."""

from dataclasses import replace

from headrace.cli.queues import differences, state_of
from headrace.core.model import WorkerRecord

OLD = WorkerRecord("w_1", "here", 11, "worker", "0.1.0", None, {"charge": "aaaa1111", "ship": "bbbb2222"}, 100, 0.0)


def test_alike_workers_are_not_mentioned() -> None:
    assert differences([OLD, replace(OLD, id="w_2", pid=12)]) == []


def test_a_deploy_shows() -> None:
    new = replace(OLD, id="w_2", version="0.2.0", tasks={"charge": "cccc3333", "ship": "bbbb2222"})
    versions, tasks = differences([OLD, new])
    assert versions.startswith("workers of different versions: 1 with 0.1.0, 1 with 0.2.0")
    assert tasks.startswith("workers disagree on the parameters of charge;")


def test_the_dead_and_those_that_stand_by_do_not_count() -> None:
    gone = replace(OLD, id="w_2", version="0.0.1", alive=False)
    assert differences([OLD, gone, replace(OLD, version="0.0.1", role="standby")]) == []


def test_the_state_of_a_worker() -> None:
    states = [OLD, replace(OLD, pid=0), replace(OLD, draining=True), replace(OLD, draining=True, alive=False)]
    assert [state_of(worker) for worker in states] == ["alive", "starting", "draining", "dead"]
