"""What the doctor says of sinks."""

from headrace.cli.checks import Check, Grade
from headrace.cli.checks_brokers import check_sinks
from headrace.core.sink_record import SinkStatus

URLS = {"kafka"}


def said(*statuses: SinkStatus) -> list[Check]:
    return list(check_sinks(statuses, URLS))


def test_what_goes_out_is_fine() -> None:
    assert said() == [Check("sinks", Grade.OK, "none")]
    waits = SinkStatus("kafka", 3, more=False, age_s=0.2, parked=0, state="unattended")
    assert said(waits) == [Check("sinks", Grade.OK, "1, nothing waits long")]


def test_events_that_nobody_sends_are_named_with_what_is_missing() -> None:
    for name, mend in (
        ("kafka", "start a worker: `headrace worker APP`"),
        ("nats", "give the workers its URL: HEADRACE_NATS_URL"),
        ("legacy", "give the workers its URL: hr.broker('legacy', …)"),
    ):
        (check,) = said(SinkStatus(name, 12, more=False, age_s=60.0, parked=0, state="unattended"))
        assert (check.grade, check.mend) == (Grade.WARN, mend)
        assert check.saw == f"12 events wait for {name}, and nobody sends them"


def test_a_sink_that_is_away_is_named_with_its_reason() -> None:
    away = SinkStatus("kafka", 12, more=False, age_s=60.4, parked=0, state="sink_away", why="kafka:9092 refuses")
    (check,) = said(away)
    assert check.saw == "12 events wait for kafka, the first for 60 s: kafka:9092 refuses"


def test_parked_events_are_named_with_the_way_out() -> None:
    (check,) = said(SinkStatus("kafka", 0, more=False, age_s=None, parked=2, state="idle"))
    assert check.saw == "kafka has refused 2 events, which are parked"
    assert "headrace sinks retry kafka" in check.mend
