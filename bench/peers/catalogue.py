"""The peers, each at its best documented settings, and its own defaults where those differ much.

Jobs that wait run a hundred at a time in each process, whatever a peer's default is.
"""

from collections.abc import Mapping, Sequence

from bench.peers.peer import Peer, Setting

QUEUES = "bench.peers.queues"
CELERY = ("{bin}/celery", "-A", f"{QUEUES}.celery_queue", "worker", "--hostname", "{name}@%h", "--loglevel", "WARNING")
SOLO = Setting(
    "solo pool, no gossip, mingle or heartbeat",
    (*CELERY, "--pool", "solo", "--without-gossip", "--without-mingle", "--without-heartbeat"),
)
PREFORK = Setting("prefork, one child, prefetch 4", (*CELERY, "--concurrency", "1"))
CELERY_THREADS = Setting("threads, 100 of them", (*CELERY, "--pool", "threads", "--concurrency", "100"))
ACKS_LATE = Setting("acks_late, reject_on_worker_lost", PREFORK.command, {"PEER_ACKS_LATE": "1"})
EARLY = "acknowledged before it runs: a killed worker's job is lost (the kill is measured with acks_late)"


def _dramatiq(threads: int, text: str) -> Setting:
    command = ("{bin}/dramatiq", f"{QUEUES}.dramatiq_queue", "--processes", "1", "--threads", str(threads))
    return Setting(text, command)


def _taskiq(text: str, *words: str, environment: Mapping[str, str] | None = None) -> Setting:
    command = ("{bin}/taskiq", "worker", f"{QUEUES}.taskiq_queue:broker", "--workers", "1")
    return Setting(text, (*command, "--log-level", "WARNING", *words), environment or {})


def _saq(concurrency: int, text: str) -> Setting:
    return Setting(text, ("{bin}/saq", f"{QUEUES}.saq_queue.settings", "--quiet"), _concurrency(concurrency))


def _arq(max_jobs: int, text: str) -> Setting:
    return Setting(text, ("{bin}/arq", f"{QUEUES}.arq_queue.WorkerSettings"), _concurrency(max_jobs))


def _concurrency(count: int) -> Mapping[str, str]:
    return {"PEER_CONCURRENCY": str(count)}


def _procrastinate(concurrency: int, text: str) -> Setting:
    command = ("{bin}/procrastinate", "--app", f"{QUEUES}.procrastinate_queue.app", "worker")
    return Setting(text, (*command, "--concurrency", str(concurrency)))


def _program(module: str, text: str, **environment: str) -> Setting:
    return Setting(text, ("{bin}/python", "-m", f"{QUEUES}.{module}"), environment)


def _graphile(text: str, **environment: str) -> Setting:
    return Setting(text, ("node", "{folder}/worker.mjs"), environment)


HEADRACE = Peer(
    name="headrace",
    title="Headrace",
    server="store",
    environment="own",
    module=f"{QUEUES}.headrace_queue",
    package="headrace",
    best=Setting("defaults", ("{bin}/headrace", "worker", f"{QUEUES}.headrace_queue:hr")),
    durability="enqueue, claim and outcome are committed; a killed worker's job runs again; history kept",
    rate=25_000,
)
FLOOR = Peer(
    name="floor",
    title="floor: bare asyncpg",
    server="postgres",
    environment="floor",
    module=f"{QUEUES}.floor_queue",
    package="asyncpg",
    best=_program("floor_queue", "one fused statement a batch, an asyncio task a job, uvloop"),
    default=_program("floor_queue", "the same, rows only: no task, no JSON", PEER_ROWS="1"),
    sleeping=_program("floor_queue", "batches of 100", PEER_BATCH="100"),
    durability="the same rows and history, committed; nobody looks after a killed worker",
    rate=25_000,
)
PEERS: Sequence[Peer] = (
    HEADRACE,
    FLOOR,
    Peer(
        name="pgqueuer",
        title="PgQueuer",
        server="postgres",
        environment="pgqueuer",
        module=f"{QUEUES}.pgqueuer_queue",
        package="pgqueuer",
        best=_program("pgqueuer_queue", "batches of 200, asyncpg, uvloop", PEER_BATCH="200"),
        default=_program("pgqueuer_queue", "batches of 10"),
        durability="claim and outcome are committed, outcomes in batches; picked up again after 30 s; log kept",
        rate=10_000,
    ),
    Peer(
        name="procrastinate",
        title="Procrastinate",
        server="postgres",
        environment="procrastinate",
        module=f"{QUEUES}.procrastinate_queue",
        package="procrastinate",
        best=_procrastinate(20, "concurrency 20"),
        default=_procrastinate(1, "concurrency 1"),
        sleeping=_procrastinate(100, "concurrency 100"),
        durability="committed job by job; a killed worker's job stays until the application retries it; history kept",
        rate=300,
    ),
    Peer(
        name="graphile",
        title="graphile-worker (Node)",
        server="postgres",
        environment="node:graphile",
        module="producer.mjs",
        package="graphile-worker",
        best=_graphile("24 at a time, local queue of 500, batched completion", PEER_FAST="24"),
        default=_graphile("one at a time"),
        sleeping=_graphile("100 at a time, local queue of 500, batched completion", PEER_FAST="100"),
        durability="claims are committed, completions in batches; a killed worker's job is locked for 4 h; no history",
        rate=20_000,
        language="node",
    ),
    Peer(
        name="celery_redis",
        title="Celery, Redis",
        server="redis",
        environment="celery",
        module=f"{QUEUES}.celery_queue",
        package="celery",
        best=SOLO,
        default=PREFORK,
        sleeping=CELERY_THREADS,
        kill=ACKS_LATE,
        durability=EARLY,
        rate=900,
    ),
    Peer(
        name="celery_rabbitmq",
        title="Celery, RabbitMQ",
        server="rabbitmq",
        environment="celery",
        module=f"{QUEUES}.celery_queue",
        package="celery",
        best=SOLO,
        default=PREFORK,
        sleeping=CELERY_THREADS,
        sustained=PREFORK,  # solo, flooded while it waits, takes nothing more
        kill=ACKS_LATE,
        durability=f"no publisher confirms; {EARLY}",
        rate=2_000,
    ),
    Peer(
        name="dramatiq_redis",
        title="Dramatiq, Redis",
        server="redis",
        environment="dramatiq",
        module=f"{QUEUES}.dramatiq_queue",
        package="dramatiq",
        best=_dramatiq(8, "8 threads (its default)"),
        sleeping=_dramatiq(100, "100 threads"),
        durability="acknowledged when done; Redis itself loses its last minutes in a crash",
        rate=1_800,
    ),
    Peer(
        name="dramatiq_rabbitmq",
        title="Dramatiq, RabbitMQ",
        server="rabbitmq",
        environment="dramatiq",
        module=f"{QUEUES}.dramatiq_queue",
        package="dramatiq",
        best=_dramatiq(8, "8 threads (its default)"),
        sleeping=_dramatiq(100, "100 threads"),
        durability="acknowledged when done; no publisher confirms",
        rate=2_500,
    ),
    Peer(
        name="taskiq_redis",
        title="Taskiq, Redis stream",
        server="redis",
        environment="taskiq",
        module=f"{QUEUES}.taskiq_queue",
        package="taskiq",
        best=_taskiq("100 async tasks (its default), uvloop", "--max-async-tasks", "100"),
        durability="acknowledged when done; claimed anew after 10 min; Redis itself loses its last minutes in a crash",
        rate=1_800,
    ),
    Peer(
        name="taskiq_rabbitmq",
        title="Taskiq, RabbitMQ",
        server="rabbitmq",
        environment="taskiq",
        module=f"{QUEUES}.taskiq_queue",
        package="taskiq",
        best=_taskiq("qos 200, prefetch 100, uvloop", "--max-prefetch", "100", environment={"PEER_QOS": "200"}),
        default=_taskiq("qos 10, 100 async tasks, uvloop"),
        durability="quorum queue, publisher confirms, acknowledged when done",
        rate=2_200,
    ),
    Peer(
        name="saq",
        title="SAQ, Redis",
        server="redis",
        environment="saq",
        module=f"{QUEUES}.saq_queue",
        package="saq",
        best=_saq(100, "concurrency 100"),
        default=_saq(10, "concurrency 10"),
        durability="swept every 60 s, retries=3 (by default a lost job is aborted); Redis loses its last minutes",
        rate=1_100,
    ),
    Peer(
        name="arq",
        title="arq, Redis",
        server="redis",
        environment="arq",
        module=f"{QUEUES}.arq_queue",
        package="arq",
        best=_arq(100, "max_jobs 100"),
        default=_arq(10, "max_jobs 10"),
        durability="a job is taken again 310 s after its start; Redis itself loses its last minutes in a crash",
        rate=900,
    ),
)
BY_NAME: Mapping[str, Peer] = {peer.name: peer for peer in PEERS}
