"""The brokers of an app: by name, each a URL or one in this process; the only place that names their adapters."""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from headrace.app.addresses import Address, KafkaAddress, NatsAddress, RabbitmqAddress, RedisAddress, check_broker
from headrace.bridges.memory import MemoryBroker
from headrace.core.broker import Broker, broker
from headrace.core.errors import InvalidConfig
from headrace.ports.bridge import Sink, Source
from headrace.settings import PREFIX, Settings

T = TypeVar("T")
PACKAGES: Final[Mapping[str, frozenset[str]]] = {
    "rabbitmq": frozenset({"aio_pika", "aiormq", "pamqp"}),
    "kafka": frozenset({"aiokafka"}),
    "nats": frozenset({"nats"}),
    "redis": frozenset({"redis"}),
}
"""What the extra of each broker brings."""
SETTINGS: Final[Mapping[str, str]] = {
    "rabbitmq": "rabbitmq_url",
    "kafka": "kafka_servers",
    "nats": "nats_url",
    "redis": "redis_url",
}


class Brokers:
    """What `hr.broker` and the settings name."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is connected, and no adapter loaded."""
        self._settings = settings
        self._given: dict[str, Broker | MemoryBroker] = {}

    def add(self, name: str, where: str | MemoryBroker) -> None:
        """Name a broker.

        Raises:
            InvalidConfig: a name or a URL that cannot be, or another broker of this name.
        """
        name = check_broker(name)
        found = where if isinstance(where, MemoryBroker) else broker(where, f"hr.broker({name!r}):")
        known = self._given.get(name)
        if known is not None and known != found:
            raise InvalidConfig(f"hr.broker({name!r}) is there already, with another URL: give this one another name")
        self._given[name] = found

    def named(self, name: str, kind: str) -> Broker | MemoryBroker:
        """The broker of an address.

        Raises:
            InvalidConfig: there is none of this name, or it is of another kind.
        """
        found = self._given.get(name)
        if found is None:
            found = self._of_settings(name)
        if isinstance(found, Broker) and found.kind != kind:
            raise InvalidConfig(f"the broker {name!r} ({found.shown}) is {found.kind}, and the address is of {kind}")
        return found

    def known(self) -> dict[str, Broker | MemoryBroker]:
        """Every broker that has a URL, by name."""
        urls = {name: self._of_settings(name) for name, field in SETTINGS.items() if getattr(self._settings, field)}
        return {**urls, **self._given}

    def source(self, address: Address, name: str, *, ordered: bool = False) -> Source:
        """What takes messages from an address; not connected.

        Raises:
            InvalidConfig: there is no such broker, or the extra for it is not installed.
        """
        found = self.named(address.broker, address.kind)
        if isinstance(found, MemoryBroker):
            return _from_memory(found, address, name, alone=ordered)
        return _loaded(found, lambda: _source(found, address, name, ordered=ordered))

    def sink(self, name: str) -> Sink | None:
        """What sends events to a broker; not connected. None: there is no URL for it here.

        Raises:
            InvalidConfig: the extra for it is not installed.
        """
        if name not in SETTINGS and name not in self._given:
            return None
        if name not in self._given and getattr(self._settings, SETTINGS[name]) is None:
            return None
        found = self._given.get(name) or self._of_settings(name)
        return found.sink() if isinstance(found, MemoryBroker) else _loaded(found, lambda: _sink(found))

    def _of_settings(self, name: str) -> Broker:
        field = SETTINGS.get(name)
        if field is None:
            raise InvalidConfig(f"there is no broker {name!r}: name it with hr.broker({name!r}, url)")
        variable = f"{PREFIX}{field.upper()}"
        url: str | None = getattr(self._settings, field)
        if url is None:
            raise InvalidConfig(f"{variable} is not set, so there is no broker {name!r}: set it to the broker's URL")
        return broker(url, variable, name)


def _source(found: Broker, address: Address, name: str, *, ordered: bool) -> Source:
    match address:
        case RabbitmqAddress():
            from headrace.bridges.rabbitmq import RabbitmqSource

            return RabbitmqSource(found, address, name, ordered=ordered)
        case KafkaAddress():
            from headrace.bridges.kafka import KafkaSource

            return KafkaSource(found, address, name)
        case NatsAddress():
            from headrace.bridges.nats import NatsSource

            return NatsSource(found, address, name, ordered=ordered)
        case RedisAddress():
            from headrace.bridges.redis import RedisSource

            return RedisSource(found, address, name, ordered=ordered)


def _sink(found: Broker) -> Sink:
    match found.kind:
        case "rabbitmq":
            from headrace.bridges.rabbitmq import RabbitmqSink

            return RabbitmqSink(found)
        case "kafka":
            from headrace.bridges.kafka import KafkaSink

            return KafkaSink(found)
        case "nats":
            from headrace.bridges.nats import NatsSink

            return NatsSink(found)
        case _:
            from headrace.bridges.redis import RedisSink

            return RedisSink(found)


def _from_memory(found: MemoryBroker, address: Address, name: str, *, alone: bool) -> Source:
    match address:
        case KafkaAddress():
            return found.source(name, address.topic, address.group or "", start=address.start)
        case RabbitmqAddress():
            return found.source(name, address.queue or "", alone=alone)
        case NatsAddress():
            return found.source(name, address.subject, address.durable or "", alone=alone)
        case RedisAddress():
            return found.source(name, address.key, address.group or "", alone=alone)


def _loaded(found: Broker, make: Callable[[], T]) -> T:
    """What `make` makes, if the client library is installed."""
    try:
        return make()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in PACKAGES[found.kind]:
            raise
        raise InvalidConfig(f"{found.shown} needs {package}: pip install 'headrace[{found.kind}]'") from error
