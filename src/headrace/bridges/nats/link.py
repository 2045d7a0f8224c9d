"""One connection that takes messages of a durable consumer, by pull requests.

One request at a time is under way: first for all that is there, and when that was nothing, for one message that is
waited for.
"""

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from nats.errors import Error as NatsError
from nats.js.api import ConsumerInfo

from headrace.bridges import faults
from headrace.bridges.nats.client import Connection
from headrace.bridges.nats.messages import given_of, message_of
from headrace.clients.closing import shortly
from headrace.core.errors import BridgeError, BridgeUnavailable
from headrace.core.message import Batch, Message

LINGER_S: Final = 5.0
"""How long a request for one message waits at the server."""
ANSWER_S: Final = 10.0
HEARD_S: Final = 2.0
PAUSE_S: Final = 0.1
LEAVE_S: Final = 0.4
FETCH_BYTES: Final = 16 << 20
SPAN_MAX: Final = 50_000
FIRST_COUNT: Final = 16
GROWTH: Final = 8
REQUEST_BYTES: Final = 8 << 20
BACK: Final = b"-NAK"
AT_IT: Final = b"+WPI"
NOTHING: Final = frozenset({"404", "408"})
_NANOSECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Taking:
    """What a source takes; what is not acknowledged within `ack_wait_s` is given out again.

    `ordered`: nobody else may take from it, and nothing may be given to anybody else.
    """

    source: str
    stream: str
    durable: str
    ack_wait_s: float
    ordered: bool = False


@dataclass(slots=True)
class Request:
    """A pull request for `count` messages: `left` of them are to come, or a word that they do not, before `by`."""

    inbox: str
    count: int
    left: int
    by: float


class NatsLink:
    """A `ports.bridge.SourceLink` over `$JS.API.CONSUMER.MSG.NEXT`."""

    def __init__(self, connection: Connection, taking: Taking) -> None:
        """The consumer is there; `listen` comes next."""
        loop = asyncio.get_running_loop()
        self._connection: Final = connection
        self._client: Final = connection.client
        self._taking: Final = taking
        self._now: Final = loop.time
        self._inbox: Final[str] = connection.client.new_inbox()
        self._count = 0
        self._request: Request | None = None
        self._ask_at = 0.0
        self._dry = False  # nothing was there
        self._most = FIRST_COUNT  # to be asked for at once, by the size of what came
        self._largest = 1
        self._waiting: Final[deque[Any]] = deque()  # came, and not fetched
        self._mine: Final[dict[str, None]] = {}  # fetched, and neither done nor given back
        self._held = False
        self._stirred: Final = asyncio.Event()
        self._gone: BridgeError | None = None
        self._closed = False
        self._given = 0  # how often the consumer has given out anything, as far as an ordered link knows
        connection.ended.add_done_callback(self._on_end)
        self._minding: Final = loop.create_task(self._mind())

    async def listen(self) -> None:
        """Be ready for what is pulled."""
        async with self._connection.answers():
            await self._client.subscribe(
                f"{self._inbox}.*", cb=self._on_message, pending_msgs_limit=0, pending_bytes_limit=0
            )

    async def take_over(self, consumer: ConsumerInfo) -> None:
        """Have all given out again that others had, in its order, as if they had given it back.

        Which they are is not told, but between which places they are; what is said of another changes nothing.
        """
        given, done = consumer.delivered, consumer.ack_floor
        if given is None or done is None:
            return  # it has given out nothing
        self._given = given.consumer_seq
        if not consumer.num_ack_pending:
            return
        places = range(done.stream_seq + 1, given.stream_seq + 1)
        if len(places) > SPAN_MAX:
            self._ask_at = self._now() + self._taking.ack_wait_s
            return
        ack = f"$JS.ACK.{self._taking.stream}.{self._taking.durable}"
        await self._give_back([f"{ack}.1.{place}.{given.consumer_seq}.0.0" for place in places])

    async def fetch(self, most: int, wait_s: float) -> Batch:
        """What came, and else what is pulled."""
        until = self._now() + wait_s
        while True:
            if self._gone is not None:
                raise self._gone
            if self._waiting and not self._held:
                return self._take(most)
            now = self._now()
            if now >= until:
                return Batch()
            self._stirred.clear()
            wake = until
            if not self._held:
                if self._request is not None:
                    wake = min(until, self._request.by)
                elif now >= self._ask_at:
                    await self._pull(most, until - now)
                else:
                    wake = min(until, self._ask_at)
            with suppress(TimeoutError):
                async with asyncio.timeout(wake - self._now()):
                    await self._stirred.wait()
            if self._request is not None and self._now() >= self._request.by:
                self._lose(BridgeUnavailable(f"{self._connection.broker.shown} does not answer"))

    async def done(self, batch: Batch) -> None:
        """Acknowledge each."""
        await self._say(b"", self._let_go(batch.receipts))

    async def back(self, batch: Batch) -> None:
        """Let any process have them, and what came after them too, so that it stays after them."""
        later = [message.reply for message in self._waiting]
        self._waiting.clear()
        await self._give_back([*self._let_go(batch.receipts), *later])
        self._dry = False
        self._stirred.set()

    async def hold(self, held: bool) -> None:
        """Ask for nothing, or ask again."""
        self._held = held
        self._stirred.set()

    async def seek(self, marks: Mapping[str, int]) -> None:
        """The consumer counts for us."""

    async def close(self) -> None:
        """Give back what is not acknowledged, so that others need not wait for it."""
        if self._closed:
            return
        self._closed = True
        lost = self._gone is not None
        self._lose(BridgeUnavailable("the connection is closed"))
        self._minding.cancel()
        await asyncio.wait([self._minding])
        if not lost:
            await shortly(self._leave, LEAVE_S)
        await self._connection.close()

    # -- taking -----------------------------------------------------------------------------------

    def _take(self, most: int) -> Batch:
        waiting, source = self._waiting, self._taking.source
        room, messages, receipts = FETCH_BYTES, list[Message](), list[str]()
        while waiting and len(messages) < most:
            room -= len(waiting[0].data)
            if room < 0 and messages:
                break
            found = waiting.popleft()
            messages.append(message_of(source, found))
            receipts.append(found.reply)
        self._mine.update(dict.fromkeys(receipts))
        return Batch(tuple(messages), tuple(receipts))

    async def _pull(self, most: int, wait_s: float) -> None:
        """Ask for messages: for many at once if there are any, else for the next one."""
        self._count += 1
        inbox, expires_s = f"{self._inbox}.{self._count}", min(wait_s, LINGER_S)
        count = 1 if self._dry else min(most, self._most)
        asked: dict[str, object] = {"batch": count}
        if self._dry:
            asked["expires"] = max(1_000_000, round(expires_s * _NANOSECOND))
        else:
            asked["no_wait"] = True
            expires_s = 0.0
        self._request = Request(inbox, count, count, self._now() + expires_s + ANSWER_S)
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._taking.stream}.{self._taking.durable}"
        try:
            await self._client.publish(subject, json.dumps(asked).encode("ascii"), inbox)
        except NatsError as error:
            self._lose(faults.lost(self._connection.broker, error))

    async def _on_message(self, message: Any) -> None:
        """A message of the stream can be replied to; what the server has to say of a request cannot."""
        request = self._request
        if message.reply:
            if self._taking.ordered and self._is_behind_another(message):
                return
            self._waiting.append(message)
            self._dry = False
            self._largest = max(self._largest, len(message.data))
            if request is not None:
                request.left -= 1
                if request.left <= 0:
                    self._request = None
                    self._grow(request.count)
        elif request is not None and message.subject == request.inbox:
            self._request = None
            self._no_more(message.headers or {})
        self._stirred.set()

    def _grow(self, count: int) -> None:
        """So many came at once: the next time more may, as far as they fit (a request by bytes blocks NATS 2.9)."""
        self._most = max(1, min(REQUEST_BYTES // self._largest, max(self._most, count * GROWTH)))
        self._largest = max(1, self._largest // 2)

    def _is_behind_another(self, message: Any) -> bool:
        """Whether something was given to somebody else before it."""
        self._given += 1
        if given_of(message) != self._given:
            self._lose(BridgeUnavailable(f"{self._what} gives to another process too, so its order begins anew"))
        return self._gone is not None

    def _no_more(self, headers: Mapping[str, str]) -> None:
        """Why nothing more comes by a request."""
        status, words = headers.get("Status", ""), headers.get("Description", "")
        if status in NOTHING:
            self._dry = True
        elif "Consumer Deleted" in words or status == "503":
            self._lose(BridgeUnavailable(f"{self._what} is gone, and is made again"))
        else:  # too much is unacknowledged, or the server is busy with itself
            self._ask_at = self._now() + PAUSE_S

    # -- what is taken ----------------------------------------------------------------------------

    def _let_go(self, receipts: Iterable[object]) -> list[str]:
        """Those that are still ours."""
        mine = self._mine
        ours = [receipt for receipt in receipts if isinstance(receipt, str) and receipt in mine]
        for receipt in ours:
            del mine[receipt]
        return ours

    async def _say(self, what: bytes, receipts: Iterable[str]) -> None:
        """Say it of each; what is not heard is given out again."""
        if self._connection.ended.done():
            return
        publish = self._client.publish
        with suppress(NatsError):
            for receipt in receipts:
                await publish(receipt, what)

    async def _give_back(self, receipts: list[str]) -> None:
        """Have them given out again, before whatever is asked for next: the server does not hear all in one order."""
        if receipts:
            await self._say(BACK, receipts[:-1])
            with suppress(NatsError, TimeoutError):
                await self._client.request(receipts[-1], BACK, timeout=HEARD_S)

    async def _mind(self) -> None:
        """Say in time that we are at it."""
        while True:
            await asyncio.wait([self._connection.ended], timeout=self._taking.ack_wait_s / 3)
            if self._connection.ended.done():
                return
            await self._say(AT_IT, [*self._mine, *[message.reply for message in self._waiting]])

    async def _leave(self) -> None:
        later = [message.reply for message in self._waiting]
        self._waiting.clear()
        await self._give_back([*self._let_go(tuple(self._mine)), *later])
        await self._client.flush()

    @property
    def _what(self) -> str:
        taking = self._taking
        return f"the consumer {taking.durable} of the stream {taking.stream} of {self._connection.broker.shown}"

    def _on_end(self, _: object) -> None:
        self._lose(faults.lost(self._connection.broker))

    def _lose(self, error: BridgeError) -> None:
        self._gone = self._gone or error
        self._stirred.set()
