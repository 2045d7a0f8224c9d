"""Which ends of jobs are told, and where: what `hr.outcomes` defines.

Invariant: a rule's name is what promises in the store are kept by; it belongs to one definition.
"""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from headrace.app.options import check_name
from headrace.core.errors import InvalidConfig
from headrace.core.states import JobState
from headrace.runtime.promises import OutcomeRule
from headrace.runtime.publishing import Address, Publisher, Receiver

if TYPE_CHECKING:
    from headrace.app.task import Task

STATES: Final = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
NAME_CHARS_MAX: Final = 255
OWN: Final = "webhook:"  # tasks of ours: that an event was delivered is no event


class OutcomeTable:
    """The rules of this process, by name."""

    def __init__(self, publisher: Publisher) -> None:
        """None."""
        self.rules: dict[str, OutcomeRule] = {}
        self._publisher = publisher
        self._tasks: dict[str, frozenset[str] | None] = {}
        self._places: dict[str, object] = {}
        self._known: dict[str, tuple[str, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self.rules)

    def add(
        self,
        address: Address | Receiver,
        *,
        tasks: "Iterable[Task[..., Any] | str] | None",
        states: Iterable[JobState | str],
        with_result: bool,
        name: str | None,
    ) -> None:
        """Keep a definition.

        Raises:
            InvalidConfig: it cannot work, or another one has the name.
        """
        rule, where = self._rule(address, states, with_result=with_result, name=name)
        place = _place(address)
        for_tasks = None if tasks is None else _names(tasks)
        known = self.rules.get(rule.name)
        if known is not None:
            same = (known.states, known.with_result) == (rule.states, rule.with_result)
            if same and self._tasks[rule.name] == for_tasks and self._places[rule.name] == place:
                return  # the module that defines it was loaded twice
            raise InvalidConfig(f"hr.outcomes({where}): there is another one named {rule.name!r}; give one a name=")
        self.rules[rule.name] = rule
        self._tasks[rule.name] = for_tasks
        self._places[rule.name] = place
        self._known.clear()

    def of(self, task: str) -> tuple[str, ...]:
        """The rules by which the end of a job of this task is told."""
        names = self._known.get(task)
        if names is None:
            names = self._known[task] = tuple(
                name for name, tasks in self._tasks.items() if (task in tasks if tasks is not None else _is_users(task))
            )
        return names

    def tasks(self, among: Iterable[str]) -> frozenset[str]:
        """Those of these tasks whose ends are told."""
        return frozenset(task for task in among if self.of(task))

    def _rule(
        self, address: Address | Receiver, states: Iterable[JobState | str], *, with_result: bool, name: str | None
    ) -> tuple[OutcomeRule, str]:
        if isinstance(address, Receiver):
            given = name or getattr(address, "name", None)
            if given is None:
                raise InvalidConfig("hr.outcomes(…) to this address needs a name=")
            checked = check_name("name", given, NAME_CHARS_MAX)
            take = partial(address.take, using=None)
            return OutcomeRule(checked, _states(states), with_result, None, take), checked
        place = f"{address.broker}:{address.target}"
        checked = check_name("name", name or place, NAME_CHARS_MAX)
        return OutcomeRule(checked, _states(states), with_result, partial(self._publisher.event, address)), place


def _place(address: Address | Receiver) -> object:
    """What two addresses have in common that lead to one place."""
    if isinstance(address, Receiver):
        return getattr(address, "name", address)
    return (address.kind, address.broker, address.target)


def _names(tasks: "Iterable[Task[..., Any] | str]") -> frozenset[str]:
    if isinstance(tasks, str):
        raise InvalidConfig(f"tasks are several, as in [{tasks!r}]")
    return frozenset(task if isinstance(task, str) else task.name for task in tasks)


def _states(states: Iterable[JobState | str]) -> frozenset[JobState]:
    if isinstance(states, str):
        raise InvalidConfig(f"states are several, as in ({states!r},)")
    known = {state.value: state for state in STATES}
    found = tuple(states)
    wrong = [state for state in found if state not in known]
    if wrong or not found:
        raise InvalidConfig(f"states are one or more of {', '.join(known)}, not {', '.join(map(str, wrong)) or 'none'}")
    return frozenset(known[state] for state in found)


def _is_users(task: str) -> bool:
    return not task.startswith(OWN)
