"""What waits in a queue, put together from its parts."""

from headrace.core.load import LineLoad, QueueLoad, TaskLoad, gathered


def test_parts_of_one_task_and_priority_are_one() -> None:
    lines = [
        LineLoad("mail", 0, 3, 1, 2.0004, scheduled=2),
        LineLoad("mail", 0, 4, 2, 7.5),
        LineLoad("mail", 5, 1, 0, 0.1),
        LineLoad("bill", 5, 2, 2, 9.0, scheduled=1),
        LineLoad("bill", 0, 0, 0, None, scheduled=4),
    ]
    load = gathered("default", lines, paused=True)
    assert load == QueueLoad(
        "default",
        True,
        7,
        (TaskLoad("bill", 5, 2, 2, 9.0), TaskLoad("mail", 5, 1, 0, 0.1), TaskLoad("mail", 0, 7, 3, 7.5)),
    )
    assert load.ready == 10
    assert gathered("new", [], paused=False) == QueueLoad("new")
