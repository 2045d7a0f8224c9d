import pytest

from headrace.core.errors import IllegalTransition
from headrace.core.states import TERMINAL, TRANSITIONS, JobEvent, JobState, diagram, transition


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("event", JobEvent)
def test_the_table_is_the_law(state: JobState, event: JobEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert transition(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(IllegalTransition, match=state.value):
            transition(state, event)


def test_the_refusal_names_what_is_possible() -> None:
    with pytest.raises(IllegalTransition, match=r"a job that is ready cannot 'succeed'; possible: cancel, claim$"):
        transition(JobState.READY, JobEvent.SUCCEED)
    with pytest.raises(IllegalTransition, match=r"possible: nothing$"):
        transition(JobState.SUCCEEDED, JobEvent.CANCEL)


def test_three_states_are_terminal() -> None:
    assert {state for state in JobState if state.terminal} == TERMINAL
    assert {state.value for state in TERMINAL} == {"succeeded", "failed", "cancelled"}


def test_only_a_person_leaves_a_terminal_state() -> None:
    assert {event for state, event in TRANSITIONS if state.terminal} == {JobEvent.REVIVE}
    assert (JobState.SUCCEEDED, JobEvent.REVIVE) not in TRANSITIONS


def test_every_live_state_reaches_an_end_and_every_state_is_reached() -> None:
    ends: set[JobState] = set(TERMINAL)
    for _ in JobState:
        ends |= {before for (before, _), after in TRANSITIONS.items() if after in ends}
    assert ends == set(JobState)
    assert {*TRANSITIONS.values(), JobState.SCHEDULED, JobState.READY} == set(JobState)


def test_every_event_happens_somewhere() -> None:
    assert {event for _, event in TRANSITIONS} == set(JobEvent)


def test_only_a_claim_starts_a_job() -> None:
    assert {event for (_, event), after in TRANSITIONS.items() if after is JobState.RUNNING} == {JobEvent.CLAIM}


def test_the_diagram_shows_every_edge() -> None:
    drawn = diagram().splitlines()
    assert drawn[0] == "stateDiagram-v2"
    for (before, event), after in TRANSITIONS.items():
        (line,) = (line for line in drawn if line.startswith(f"    {before.value} --> {after.value}: "))
        assert event.value in line.partition(": ")[2].split(", ")
    assert sum(line.endswith("--> [*]") for line in drawn) == 3


def test_the_diagram_begins_where_jobs_are_enqueued() -> None:
    assert diagram().splitlines()[1:3] == [
        "    [*] --> scheduled: enqueue for later",
        "    [*] --> ready: enqueue",
    ]
