"""`headrace worker --metrics-port`: what a tree of workers counts, by its supervisor."""

import os
import re
import signal
import socket
import urllib.error
import urllib.request
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.timeout(150)  # several processes start and end in each; machines of CI are slow


def get(shop: Any, key: str, path: str = "/metrics") -> tuple[int, str]:
    found = re.search(r"their metrics are on (http://\S+)/metrics", shop.said("worker"))
    if found is None:
        return 0, ""
    request = urllib.request.Request(found[1] + path, headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
    except OSError:
        return 0, ""


def values(shop: Any, key: str, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """The lines of one name that are not 0."""
    status, text = get(shop, key)
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for family in text_string_to_metric_families(text)
        if status == 200
        for sample in family.samples
        if sample.name == name and sample.value
    }


@pytest.fixture
def key(shop: Any) -> str:
    shop.out("migrate")
    made: dict[str, str] = shop.json("keys", "create", "prometheus", "--scope", "read")
    return made["key"]


def test_a_supervisor_tells_what_its_workers_count(shop: Any, key: str) -> None:
    worker = shop.start("worker", "shop:app", "--processes", "2", "--metrics-port", "0")
    shop.until(lambda: get(shop, key)[0] == 200, "metrics are served")
    shop.run_script("await shop.hr.enqueue_many([shop.count.call(0) for _ in range(40)])")
    shop.enqueue("boom.enqueue()")
    counted = {("count", "succeeded"): 40.0, ("boom", "failed"): 1.0}
    shop.until(
        lambda: values(shop, key, "headrace_attempts_total", "task", "outcome") == counted, "every attempt is counted"
    )
    assert values(shop, key, "headrace_attempt_seconds_count", "task") == {("count",): 40, ("boom",): 1}
    assert values(shop, key, "headrace_settles_total", "result") == {("settled",): 41}
    assert values(shop, key, "headrace_workers", "role", "state") == {("worker", "alive"): 2, ("suspects", "alive"): 1}
    assert "headrace_loop_age_seconds" in get(shop, key)[1]
    assert get(shop, "")[0] == get(shop, "hr_x_y")[0] == get(shop, "", "/other")[0] == 401
    assert get(shop, key, "/other")[0] == 404
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    assert "Traceback" not in shop.said("worker")


def test_what_a_killed_worker_had_counted_stays_and_its_death_is_counted(shop: Any, key: str) -> None:
    shop.start("worker", "shop:app", "--metrics-port", "0")
    shop.until(lambda: get(shop, key)[0] == 200 and shop.has_worker(), "the worker is up")
    shop.enqueue("count.enqueue(0)")
    once = {("count", "succeeded"): 1.0}
    shop.until(lambda: values(shop, key, "headrace_attempts_total", "task", "outcome") == once, "it is counted")
    (pid,) = (worker["pid"] for worker in shop.workers() if worker["role"] == "worker")
    os.kill(pid, signal.SIGKILL)
    crashes = {("worker",): 1.0}
    shop.until(lambda: values(shop, key, "headrace_worker_crashes_total", "role") == crashes, "its death is counted")
    assert values(shop, key, "headrace_attempts_total", "task", "outcome") == once


def test_the_last_counts_of_a_worker_that_drains_arrive(shop: Any, key: str) -> None:
    worker = shop.start("worker", "shop:app", "--metrics-port", "0")
    shop.until(lambda: get(shop, key)[0] == 200 and shop.has_worker(), "the worker is up")
    shop.enqueue("wait.enqueue('done')")
    shop.until(lambda: shop.json("jobs", "--state", "running")["jobs"], "it runs")
    (pid,) = (each["pid"] for each in shop.workers() if each["role"] == "worker")
    os.kill(pid, signal.SIGTERM)  # it asks its supervisor to be drained
    shop.until(lambda: pid not in [each["pid"] for each in shop.workers() if each["state"] == "alive"], "it drains")
    (shop.path / "done").touch()
    drained = {("wait", "succeeded"): 1.0}
    shop.until(lambda: values(shop, key, "headrace_attempts_total", "task", "outcome") == drained, "it is counted")
    assert values(shop, key, "headrace_worker_crashes_total", "role") == {}
    assert worker.poll() is None


def test_without_the_option_nothing_listens(shop: Any, key: str) -> None:
    shop.start("worker", "shop:app")
    shop.until(shop.has_worker, "the worker is up")
    assert "metrics" not in shop.said("worker")


def test_a_port_in_use_and_an_address_that_others_reach_are_refused(shop: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = shop.run("worker", "shop:app", HEADRACE_METRICS_PORT=str(port))
        assert done.returncode == 1
        assert done.stderr.startswith(f"headrace: port {port} is in use")
        assert done.stderr.endswith(f"; take another, as in --metrics-port {port + 1}\n")
    done = shop.run("worker", "shop:app", "--metrics-port=0", "--metrics-host=0.0.0.0", HEADRACE_AUTH="off")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("headrace: auth is off, so this may not listen on 0.0.0.0;")


def test_without_the_package_it_says_what_to_install(shop: Any) -> None:
    (shop.path / "sitecustomize.py").write_text("import sys\nsys.modules['prometheus_client'] = None\n")
    done = shop.run("worker", "shop:app", "--metrics-port", "0", PYTHONPATH=str(shop.path))
    assert done.returncode == 1
    assert 'pip install "headrace[metrics]"' in done.stderr
