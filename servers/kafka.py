"""A Kafka server of one node, broker and controller in one, without ZooKeeper."""

import base64
import os
import shutil
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from servers.server import HOST, Server, ask, find, free_port

SETTINGS: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    # As small as one node is.
    "num.network.threads": "2",
    "num.io.threads": "2",
    "num.partitions": "1",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "log.segment.bytes": "134217728",
    "message.max.bytes": "60000000",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    # After a SIGKILL it waits until its own former session has lapsed: 9 s if it is left alone.
    "broker.heartbeat.interval.ms": "300",
    "broker.session.timeout.ms": "1500",
}
QUICK_START: Final = ("-XX:TieredStopAtLevel=1",)
"""Options of Java for a server that does not live long enough to be compiled well."""
# ApiVersions, version 0, of client "ask": what every broker answers before anything else.
ASK_VERSIONS: Final = struct.pack(">ihhih3s", 13, 18, 0, 1, 3, b"ask")


class Kafka(Server):
    """One server; topics are made by its clients."""

    name = "kafka"

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        within: Path | None = None,
        java_options: Sequence[str] = QUICK_START,
    ) -> None:
        """Format its storage and start it; `settings` are added to those of server.properties.

        Raises:
            MissingError: there are no jars of Kafka here, or no Java.
            FailedError: it does not start.
        """
        self._java: Final = find("java")
        jars: Final = find("kafka")
        self._settings: Final = SETTINGS | dict(settings or {})
        self._options: Final = java_options
        super().__init__(within)
        self._properties: Final = self.directory / "server.properties"
        self._jars: Final = self.directory / "jars"
        try:
            self._bring(jars)
            self._configure()
            cluster = base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode("ascii")
            self._run([*self._program("kafka.tools.StorageTool"), "format", "-t", cluster, "-c", self._properties])
        except BaseException:
            self.stop()
            raise
        self._first_start()

    @property
    def version(self) -> str:
        """As its jars tell it: `4.3.1`."""
        return next(self._jars.glob("kafka-clients-*.jar")).stem.rpartition("-")[2]

    @property
    def bootstrap(self) -> str:
        """Where it is, as its clients want to be told."""
        return f"{HOST}:{self.port}"

    def url(self) -> str:
        """Where it is."""
        return f"kafka://{HOST}:{self.port}"

    def _bring(self, jars: Path) -> None:
        """Have the jars where the server's user may read them."""
        self._jars.mkdir()
        for jar in jars.glob("*.jar"):
            try:
                os.link(jar, self._jars / jar.name)
            except OSError:
                shutil.copyfile(jar, self._jars / jar.name)

    def _configure(self) -> None:
        """Say where it listens; the quorum's address stands nowhere else, so each start may have a new one."""
        controller = free_port()
        settings = self._settings | {
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
            "log.dirs": str(self.directory / "data"),
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), "utf-8")

    def _program(self, name: str) -> list[str | Path]:
        return [
            self._java,
            *("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData"),
            *self._options,
            f"-Djava.io.tmpdir={self.directory}",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            *("-cp", f"{self._jars}/*"),
            name,
        ]

    def _command(self) -> list[str | Path]:
        self._configure()
        return [*self._program("kafka.Kafka"), self._properties]

    def _ready(self) -> bool:
        return ask(self.port, ASK_VERSIONS) != b""
