"""Hints by way of a real PostgreSQL: every notifier stands for a process."""

import asyncio
import threading
import time

import pytest

from headrace.notifiers import keeper, talk
from headrace.notifiers.keeper import GATHER_S
from headrace.notifiers.outbox import MESSAGE_BYTES_MAX, read
from headrace.notifiers.postgres import PostgresNotifier
from headrace.notifiers.postgres_line import PostgresLine, channel_of
from servers.pgbouncer import PgBouncer
from servers.postgres import Postgres
from servers.server import free_port
from tests.integration.notifiers.kit import Admin, Make, left_behind, sessions, until
from tests.unit.notifiers.ear import Ear

ODD = 'queue:smith\'s \\ "sons" 100 % 北京'


async def test_two_processes_hear_each_other_and_nobody_hears_himself_twice(
    pair: tuple[PostgresNotifier, PostgresNotifier],
) -> None:
    one, other = pair
    here, there = Ear(), Ear()
    one.subscribe(("queue:", "cancel"), here)
    other.subscribe(("queue:", f"job:{'a' * 32}"), there)
    one.publish([ODD, "cancel", f"job:{'a' * 32}", f"job:{'b' * 32}"])
    await there.hears(ODD, f"job:{'a' * 32}")
    assert there.heard == {ODD, f"job:{'a' * 32}"}
    other.publish(["queue:back"])
    await here.hears(ODD, "cancel", "queue:back")  # after it, an echo would have come
    assert here.calls == [{ODD, "cancel"}, {"queue:back"}]


async def test_from_any_thread(pair: tuple[PostgresNotifier, PostgresNotifier]) -> None:
    one, other = pair
    here, there = Ear(), Ear()
    one.subscribe(("queue:",), here)
    other.subscribe(("queue:",), there)
    names = [f"queue:{number}" for number in range(8)]
    threads = [threading.Thread(target=one.publish, args=([name],)) for name in names]
    for thread in threads:
        thread.start()
    await here.hears(*names)
    await there.hears(*names)
    for thread in threads:
        thread.join()


async def test_another_schema_is_another_bell(make: Make, pair: tuple[PostgresNotifier, PostgresNotifier]) -> None:
    one, other = pair
    stranger, ear, known = make(schema="another"), Ear(), Ear()
    await stranger.start()
    await until(lambda: stranger.working)
    stranger.subscribe(("queue:",), ear)
    other.subscribe(("queue:",), known)
    one.publish(["queue:mail"])
    await known.hears("queue:mail")
    one.publish(["queue:again"])
    await known.hears("queue:again")
    assert ear.calls == []


async def test_a_thousand_publishes_are_few_messages(
    pair: tuple[PostgresNotifier, PostgresNotifier], messages: list[str]
) -> None:
    one, other = pair
    ear = Ear()
    other.subscribe(("queue:",), ear)
    started = time.monotonic()

    def publish() -> None:
        for number in range(1_000):
            one.publish([f"queue:{number % 50}"])
            time.sleep(GATHER_S / 50)

    await asyncio.to_thread(publish)
    one.publish(["queue:last"])
    await ear.hears("queue:last", *(f"queue:{number}" for number in range(50)))
    await until(lambda: "queue:last" in " ".join(messages))
    assert 1 < len(messages) <= 2 + (time.monotonic() - started) / GATHER_S


async def test_the_first_hint_does_not_wait_for_others(
    pair: tuple[PostgresNotifier, PostgresNotifier], messages: list[str]
) -> None:
    one, other = pair
    ear = Ear()
    other.subscribe(("queue:",), ear)
    one.publish(["queue:first"])
    one.publish(["queue:with it"])
    await ear.hears("queue:first")
    assert ear.heard == {"queue:first", "queue:with it"}
    await until(lambda: bool(messages))
    assert messages == ["queue:first queue:with%20it"]


async def test_a_big_burst_is_one_hint_for_all(
    pair: tuple[PostgresNotifier, PostgresNotifier], messages: list[str]
) -> None:
    one, other = pair
    jobs, queues = Ear(), Ear()
    other.subscribe((f"job:{'f' * 32}",), jobs)
    other.subscribe(("queue:",), queues)
    one.publish([f"job:{number:032x}" for number in range(5_000)])
    await jobs.hears("job:*")
    one.publish([f"queue:{number}-{'城' * 50}" for number in range(100)])
    await queues.hears("queue:*")
    await until(lambda: len(messages) == 2)
    assert all(len(message) <= MESSAGE_BYTES_MAX for message in messages)
    assert [read(message) for message in messages] == [{"job:*"}, {"queue:*"}]


async def test_what_others_say_on_the_channel_does_no_harm(
    pair: tuple[PostgresNotifier, PostgresNotifier], admin: Admin
) -> None:
    one, _ = pair
    ear = Ear()
    one.subscribe(("",), ear)
    for payload in ("", "nothing", "someone ?probe", "%zz %ff", "someone job:x  cancel"):
        await admin.execute(f"SELECT pg_notify('{channel_of('headrace')}', $1)", payload)
    await ear.hears("cancel")
    assert ear.heard == {"\ufffd", "job:x", "cancel"}


async def test_a_connection_that_was_terminated_comes_back(
    pair: tuple[PostgresNotifier, PostgresNotifier],
    admin: Admin,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, other = pair
    here, there, one_job = Ear(), Ear(), Ear()
    one.subscribe(("queue:", "job:", "cancel"), here)
    one.subscribe((f"job:{'a' * 32}",), one_job)
    other.subscribe(("queue:",), there)
    caplog.set_level("INFO", "headrace")
    its, _ = await sessions(admin, 2)
    await admin.execute(f"SELECT pg_terminate_backend({its})")
    await until(lambda: not one.working)
    one.publish(["queue:meanwhile"])
    await here.hears("queue:*", "job:*", "cancel")  # all look for themselves
    await one_job.hears("job:*")
    await there.hears("queue:meanwhile")  # only late
    await until(lambda: one.working)
    other.publish(["queue:again"])
    await here.hears("queue:again")
    assert there.times("queue:*") == 0
    told = [record.message for record in caplog.records if record.name == "headrace.notifiers.keeper"]
    assert len(told) == 2
    assert told[1] == "hints of other processes are heard again"


async def test_a_server_that_restarts_is_found_again(
    pair: tuple[PostgresNotifier, PostgresNotifier], postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = pair
    here, there = Ear(), Ear()
    one.subscribe(("queue:",), here)
    other.subscribe(("queue:",), there)
    await asyncio.to_thread(postgres.down)
    try:
        await until(lambda: not one.working and not other.working)
        other.publish(["queue:meanwhile"])
        one.publish(["queue:here"])
        await here.hears("queue:here")
        assert here.heard == {"queue:here", "queue:*"}  # since it is deaf, all look for themselves
        await until(lambda: caplog.text.count("no connection for hints") == 2)
    finally:
        await asyncio.to_thread(postgres.start)
    await until(lambda: one.working and other.working)
    assert here.times("queue:*") == there.times("queue:*") == 2
    other.publish(["queue:again"])
    await here.hears("queue:again")
    assert caplog.text.count("no connection for hints") == 2  # once each, however often they tried


async def test_a_session_that_hangs_is_noticed(stuck: PostgresNotifier) -> None:
    ear = Ear()
    stuck.subscribe(("queue:",), ear)
    await until(lambda: not stuck.working)
    await ear.hears("queue:*")
    await until(lambda: stuck.working)
    assert ear.times("queue:*") == 2  # when it went deaf, and when it heard again


async def test_what_a_hanging_session_did_not_take_is_sent_by_the_next(
    stuck: PostgresNotifier, messages: list[str]
) -> None:
    stuck.publish(["queue:stuck"])
    await until(lambda: messages == ["queue:stuck"])


async def test_a_stop_does_not_wait_for_a_session_that_hangs(
    stuck: PostgresNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "FLUSH_S", 60.0)
    stuck.publish(["queue:stuck"])
    async with asyncio.timeout(30):
        await stuck.stop()


async def test_it_starts_and_stops_without_a_server_and_rings_here_all_the_same(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "FLUSH_S", 60.0)
    notifier, ear = make(f"postgresql://postgres:s3cret@127.0.0.1:{free_port()}/postgres"), Ear()
    notifier.subscribe(("queue:",), ear)
    await notifier.start()
    notifier.publish(["queue:here"])
    await ear.hears("queue:here")
    assert not notifier.working
    await until(lambda: "no connection for hints" in caplog.text)
    async with asyncio.timeout(30):
        await notifier.stop()


@pytest.mark.parametrize("how", ["password", "malformed"])
async def test_no_log_line_has_the_password(
    how: str, make: Make, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres.url("postgres", "nobody", "s3cret") if how == "password" else "postgresql://a:s3cret@[::/%zz?x=%%"
    caplog.set_level("DEBUG")
    notifier = make(url)
    await notifier.start()
    await until(lambda: "no connection for hints" in caplog.text)
    await notifier.stop()
    assert "s3cret" not in caplog.text


async def test_behind_a_pooler_it_is_known_not_to_work(
    make: Make,
    pgbouncer: PgBouncer,
    postgres_url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PostgresNotifier, "probe_every_s", 0.05)
    pooled = pgbouncer.url(postgres_url)
    behind, direct = make(pooled), make()
    here, there = Ear(), Ear()
    behind.subscribe(("queue:",), here)
    direct.subscribe(("queue:",), there)
    await behind.start()
    await direct.start()
    await until(lambda: direct.working and "HEADRACE_LISTEN_URL" in caplog.text)
    for number in range(20):
        behind.publish([f"queue:{number}"])  # NOTIFY goes through
        await there.hears(f"queue:{number}")
        direct.publish([f"queue:back {number}"])
        assert not behind.working
    assert here.heard == {f"queue:{number}" for number in range(20)}
    assert caplog.text.count("HEADRACE_LISTEN_URL") == 1
    assert pooled not in caplog.text
    assert await left_behind(pooled) == []


async def test_a_pooler_that_does_not_give_itself_away_is_found_out_by_the_probe(
    make: Make,
    pgbouncer: PgBouncer,
    postgres_url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def own(line: PostgresLine, other: object) -> bool:
        return False

    monkeypatch.setattr(PostgresLine, "_lent", own)
    monkeypatch.setattr(talk, "ECHO_S", 0.3)
    pooled = pgbouncer.url(postgres_url)
    notifier = make(pooled)
    await notifier.start()
    await until(lambda: "HEADRACE_LISTEN_URL" in caplog.text)
    assert not notifier.working
    assert await left_behind(pooled) == []


async def test_a_stop_leaves_nothing(make: Make, admin: Admin) -> None:
    before = asyncio.all_tasks()
    for after_s in (0.0, 0.001, 0.003, 0.006, 0.01, 0.02, 0.05):  # in the middle of everything
        notifier = make()
        await notifier.start()
        await asyncio.sleep(after_s)
        notifier.publish(["queue:mail"])
        await notifier.stop()
        assert asyncio.all_tasks() == before
        assert not notifier.working
        assert not notifier.wants("queue:")
    assert await sessions(admin, 0) == []


async def test_what_was_published_before_a_stop_is_sent(make: Make, messages: list[str]) -> None:
    for number in range(5):
        notifier = make()
        await notifier.start()
        notifier.publish([f"queue:{number}"])
        await notifier.stop()
    await until(lambda: len(messages) == 5)
    assert messages == [f"queue:{number}" for number in range(5)]


async def test_without_start_publishing_does_no_harm_and_a_start_begins_anew(make: Make, messages: list[str]) -> None:
    notifier, ear = make(), Ear()
    assert not notifier.wants("queue:")
    notifier.publish(["queue:lost"])
    notifier.subscribe(("queue:",), ear)
    assert notifier.wants("queue:")
    assert not notifier.wants("job:")
    await asyncio.to_thread(asyncio.run, notifier.start())
    notifier.publish(["queue:lost too"])  # its loop is closed
    await notifier.start()
    assert notifier.wants("job:")
    await until(lambda: notifier.working)
    notifier.publish(["queue:heard"])
    await ear.hears("queue:heard")
    await until(lambda: bool(messages))
    assert messages == ["queue:heard"]
    assert ear.heard == {"queue:heard", "queue:*"}
