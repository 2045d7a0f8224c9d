"""`serve`, `dev` and `demo`: real processes, that end as they are asked to and leave nothing behind."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(150)  # several processes start and end in each; machines of CI are slow


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def get(port: int, path: str, method: str = "GET", body: str | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text[:1] in {b"{", b"["} else text
    finally:
        connection.close()


def is_up(port: int) -> bool:
    try:
        return get(port, "/headrace/health/live")[0] == 200
    except OSError:
        return False


def family(pid: int) -> set[int]:
    """The living processes of a tree; Linux only."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if words[0] != "Z":
            parents.setdefault(int(words[1]), []).append(int(stat.parent.name))
    found, todo = set(), [pid]
    while todo:
        for child in parents.get(todo.pop(), []):
            found.add(child)
            todo.append(child)
    return found


def alive(pids: set[int]) -> set[int]:
    return {
        pid for pid in pids if Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text()
    }


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_cleanly_with_a_stream_open(shop: Any, port: int, number: signal.Signals) -> None:
    job = shop.enqueue("nap.enqueue(99)")
    server = shop.start("serve", "shop:app", "--port", str(port), HEADRACE_AUTH="off")
    shop.until(lambda: is_up(port), "the API is up")
    stream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    stream.request("GET", f"/headrace/api/jobs/{job}/updates")
    assert stream.getresponse().status == 200
    server.send_signal(number)
    assert server.wait(timeout=20) == 0  # the stream itself would be quiet for 25 s
    stream.close()


def test_serve_takes_a_headrace_without_an_app(shop: Any, port: int) -> None:
    (shop.path / "only.py").write_text("from headrace import Headrace\nhr = Headrace()\n")
    shop.start("serve", "only:hr", "--port", str(port))
    shop.until(lambda: is_up(port), "the API is up")
    assert get(port, "/headrace/api/queues")[0] == 401


def test_a_port_in_use_is_named_with_its_holder(shop: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for command in (("serve", "shop:app"), ("dev", "shop:app"), ("demo", "--no-browser")):
            done = shop.run(*command, "--port", str(port))
            assert done.returncode == 1
            assert done.stderr.startswith(f"headrace: port {port} is in use")
            assert done.stderr.endswith(f"; take another, as in --port {port + 1}\n")
            assert sys.platform != "linux" or f"by process {os.getpid()} (" in done.stderr


def test_without_auth_it_listens_on_loopback_only(shop: Any) -> None:
    done = shop.run("serve", "shop:app", "--host", "0.0.0.0", "--port", "0", HEADRACE_AUTH="off")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "headrace: auth is off, so this may not listen on 0.0.0.0; unset HEADRACE_AUTH, or listen on 127.0.0.1\n"
    )


def tasks(port: int) -> set[str]:
    return {task["name"] for task in get(port, "/headrace/api/tasks")[1]["tasks"]}


def test_dev_runs_jobs_and_starts_anew_on_a_change(shop: Any, port: int) -> None:
    dev = shop.start("dev", "shop:app", "--port", str(port))
    shop.until(lambda: is_up(port), "the API is up")
    status, job = get(port, "/headrace/api/jobs", "POST", json.dumps({"task": "count", "args": {"n": 2}}))
    assert status == 202
    shop.until(lambda: shop.job(job["id"])["state"] == "succeeded", "the job has run")

    module = shop.path / "shop.py"
    text = module.read_text()
    module.write_text(text + "\n1 / 0\n")
    shop.until(lambda: "waiting for a change" in shop.said("dev"), "the broken module is told of")
    shop.until(lambda: "ZeroDivisionError: division by zero\n" in shop.said("dev"), "what is broken is told")
    assert shop.said("dev").count("ZeroDivisionError: division by zero\n") == 1
    assert dev.poll() is None
    module.write_text(text + "\n@hr.task()\nasync def more() -> None: ...\n")
    shop.until(lambda: "more" in tasks(port), "the new task is there")  # asks while nothing serves: it waits in line

    below = family(dev.pid)
    dev.send_signal(signal.SIGINT)
    assert dev.wait(timeout=60) == 0
    shop.until(lambda: alive(below) == set(), "every process of it ends")


@pytest.fixture
def demo(shop: Any, port: int) -> "subprocess.Popen[str]":
    shop.env["HEADRACE_STORE"] = "sqlite:///.headrace-demo/lab.db"
    process: subprocess.Popen[str] = shop.start("demo", "--port", str(port), "--no-browser", "--seed-photos")
    shop.until(lambda: f"The photo lab is on http://127.0.0.1:{port}\n" in shop.said("demo"), "the demo is up")
    return process


@pytest.mark.nightly
def test_the_demo_survives_its_kill_button_and_ends_on_ctrl_c(
    shop: Any, demo: "subprocess.Popen[str]", port: int
) -> None:
    job = shop.until(lambda: get(port, "/headrace/api/jobs?state=running")[1]["jobs"], "a photo is developed")[0]["id"]
    assert get(port, "/lab/worker/kill", "POST")[0] == 200
    shop.until(lambda: shop.job(job)["state"] == "succeeded", "the photo is developed all the same")
    assert [attempt["outcome"] for attempt in shop.job(job)["attempts"]] == ["crashed", "succeeded"]
    below = family(demo.pid)
    assert len(below) >= 4
    demo.send_signal(signal.SIGINT)
    assert demo.wait(timeout=60) == 0
    shop.until(lambda: alive(below) == set(), "every process of it ends")
    assert "Traceback" not in shop.said("demo")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children of a process that was killed")
def test_a_demo_that_is_killed_leaves_nothing_running(shop: Any, demo: "subprocess.Popen[str]") -> None:
    below = family(demo.pid)
    assert len(below) >= 2
    demo.kill()
    shop.until(lambda: alive(below) == set(), "every process of the demo ends")


def test_the_demo_takes_photos_from_a_directory_and_says_which_are_none(
    shop: Any, port: int, photographs: list[Path]
) -> None:
    folder = shop.path / "photos"
    folder.mkdir()
    (folder / "cat.png").write_bytes(photographs[0].read_bytes())
    (folder / "text.jpg").write_text("I am no photo")
    (folder / "empty.webp").touch()
    shop.start("demo", "--port", str(port), "--no-browser", "--photos", str(folder))
    shop.until(lambda: "headrace: text.jpg: " in shop.said("demo"), "the file that is no photo is told of")
    shop.until(lambda: "headrace: empty.webp: " in shop.said("demo"), "the empty file is told of")
    assert [photo["name"] for photo in get(port, "/lab/photos")[1]] == ["cat.png"]
