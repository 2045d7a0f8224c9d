"""What `deploy/` holds is right as far as it can be told without a container engine, and each check bites."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI

from headrace import Headrace
from headrace.runtime.supervisor import MARGIN_S
from headrace.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("migrate", "api", "worker")
PAGE = (ROOT / "docs" / "how-to" / "to-production.md").read_text("utf-8")
KUBERNETES = {
    (each["kind"], each["metadata"]["name"]): each
    for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for each in yaml.safe_load_all(block)
    if "kind" in each
}
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])

GoTool = Callable[[str], Path]


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


# -- Dockerfile -----------------------------------------------------------------------------------


def last_stage() -> list[str]:
    """The instructions of the image itself, continued lines joined, without comments."""
    lines = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
    return lines[max(at for at, line in enumerate(lines) if line.startswith("FROM ")) :]


def of(instruction: str) -> str:
    """The argument of the only such instruction in the last stage."""
    (found,) = [line.partition(" ")[2] for line in last_stage() if line.startswith(f"{instruction} ")]
    return found


def hadolint(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "hadolint", "--no-color", "-"], input=text, capture_output=True, text=True, check=False
    )


def test_hadolint_finds_nothing() -> None:
    told = hadolint(DOCKERFILE)
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("RUN cd /src && make", "DL3003"),
        ("RUN pip install something", "DL3013"),
        ("RUN apt-get update && apt-get install -y curl", "DL3008"),
        ("ENTRYPOINT headrace", "DL3025"),
        ("USER root", "DL3002"),
    ],
)
def test_hadolint_bites(line: str, rule: str) -> None:
    told = hadolint(f"{DOCKERFILE}\n{line}\n")
    assert told.returncode == 1
    assert rule in told.stdout


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    user, _, group = of("USER").partition(":")
    assert int(user) > 0 < int(group)


def test_signals_reach_the_program() -> None:
    (entrypoint,) = json.loads(of("ENTRYPOINT"))  # a JSON list is the form without a shell
    json.loads(of("CMD"))
    assert of("STOPSIGNAL") == "SIGTERM"
    assert f"COPY deploy/entrypoint.sh {entrypoint}" in last_stage()
    assert (DEPLOY / "entrypoint.sh").stat().st_mode & 0o111 == 0o111
    assert (DEPLOY / "entrypoint.sh").read_text("utf-8").splitlines()[-1] == 'exec headrace "$@"'


def test_no_tool_that_builds_is_in_the_image() -> None:
    assert [line for line in last_stage() if re.match(r"RUN .*\b(uv|pip|apt-get|apt|gcc|make|git|curl)\b", line)] == []


def test_images_are_pinned_by_a_tag_that_names_a_version() -> None:
    images = [*re.findall(r"^ARG \w*IMAGE=(\S+)", DOCKERFILE, re.MULTILINE), default(SERVICES["db"]["image"])]
    assert len(images) == 2
    assert all(re.fullmatch(r"[a-z/]+:\d+(\.\d+)*-\S*bookworm(@sha256:\w{64})?", image) for image in images), images


def test_the_image_is_built_with_the_uv_of_the_lock() -> None:
    ours = re.search(r"^version=(\S+)", (ROOT / "scripts" / "uv.sh").read_text("utf-8"), re.MULTILINE)
    theirs = re.search(r"pip install uv==(\S+)", DOCKERFILE)
    assert ours is not None
    assert theirs is not None
    assert ours[1] == theirs[1]


def test_the_image_has_extras_that_there_are() -> None:
    assert set(re.findall(r"--extra (\w+)", DOCKERFILE)) == {"postgres", "metrics", "sqlalchemy"} <= EXTRAS


def test_what_an_image_is_built_from_stands_in_the_dockerignore() -> None:
    listed = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    app = re.search(r"^ARG APP=(\S+)", DOCKERFILE, re.MULTILINE)
    assert app is not None
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    sources = {each.replace("${APP}", app[1]) for copy in copies for each in copy.split()}
    assert all(any(source == line[1:] or source.startswith(f"{line[1:]}/") for line in listed) for source in sources)
    assert listed[1] == "*"
    assert all((ROOT / source).exists() for source in sources)


# -- compose.yaml ---------------------------------------------------------------------------------


def default(text: str) -> str:
    """A value with `${NAME:-default}` replaced as without an `.env`."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)s", default(text))
    assert found is not None, text
    return float(found[1])


def compose(file: Path, go_tool: GoTool) -> subprocess.CompletedProcess[str]:
    """Have the file read by `docker compose`, or by the library that it reads files with."""
    docker = shutil.which("docker")
    if docker is not None and run(docker, "compose", "version").returncode == 0:
        return run(docker, "compose", "--file", file, "config", "--quiet")
    return run(go_tool("compose-spec"), file.name, cwd=file.parent)


@pytest.mark.timeout(300)  # the first time, it is built
def test_compose_reads_the_file(go_tool: GoTool) -> None:
    told = compose(DEPLOY / "compose.yaml", go_tool)
    assert told.returncode == 0, told.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("    restart: unless-stopped\n", "    restarts: unless-stopped\n"),
        ("condition: service_healthy", "condition: healthy"),
        ("x-app: &app", "x-app: &app2"),
        ("networks: [inside]\n", "networks: inside\n"),
    ],
)
def test_compose_bites(right: str, wrong: str, tmp_path: Path, go_tool: GoTool) -> None:
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    assert right in text
    broken = tmp_path / "compose.yaml"
    broken.write_text(text.replace(right, wrong, 1), "utf-8")
    assert compose(broken, go_tool).returncode != 0


def test_what_services_name_is_there() -> None:
    for service in SERVICES.values():
        assert set(service["networks"]) <= set(COMPOSE["networks"])
        assert set(service["secrets"]) <= set(COMPOSE["secrets"])
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for mount in service.get("volumes", ()):
            source = mount.partition(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).is_file(), mount


def test_durations_are_durations() -> None:
    check = SERVICES["db"]["healthcheck"]
    found = [check[name] for name in ("interval", "timeout", "start_period")]
    found += [service["stop_grace_period"] for service in SERVICES.values() if "stop_grace_period" in service]
    assert [text for text in found if seconds(text) <= 0] == []


def test_each_waits_for_what_it_needs() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert SERVICES["migrate"]["restart"] == "no"
    for name in ("api", "worker"):
        assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}


def test_a_worker_has_longer_to_stop_than_it_takes() -> None:
    worker = SERVICES["worker"]
    grace_s = float(default(worker["environment"]["HEADRACE_GRACE_S"]))
    assert grace_s == Settings.model_fields["grace_s"].default
    most_s = grace_s + Settings.model_fields["kill_grace_s"].default + 2 * MARGIN_S
    assert seconds(worker["stop_grace_period"]) > most_s
    assert worker["deploy"]["replicas"] == 2


def test_the_database_is_out_of_reach() -> None:
    assert "ports" not in SERVICES["db"]
    assert SERVICES["db"]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert [port.partition(":")[0] for name in SERVICES for port in SERVICES[name].get("ports", ())] == ["127.0.0.1"]


def test_secrets_are_files_that_git_does_not_take() -> None:
    files = [secret["file"] for secret in COMPOSE["secrets"].values()]
    assert all(file.startswith("./secrets/") for file in files)
    named = [str(DEPLOY / file) for file in [*files, ".env"]]
    assert run("git", "check-ignore", *named).stdout.splitlines() == named
    for name in (*OURS, "db"):
        told = {key for key in SERVICES[name]["environment"] if re.search("PASSWORD|SECRET", key)}
        assert told, name
        assert all(key.endswith("_FILE") for key in told)
        mounted = {f"/run/secrets/{secret}" for secret in SERVICES[name]["secrets"]}
        assert {SERVICES[name]["environment"][key] for key in told} <= mounted


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_bounded_and_may_write_only_where_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
    if name in OURS:
        assert service["cap_drop"] == ["ALL"]
        assert service["init"] is True


def test_the_example_of_env_names_what_compose_reads_and_its_defaults() -> None:
    read = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", (DEPLOY / "compose.yaml").read_text("utf-8")))
    shown = dict(re.findall(r"^#(\w+)=(.*)$", (DEPLOY / ".env.example").read_text("utf-8"), re.MULTILINE))
    assert shown == read


def test_every_headrace_variable_is_a_setting() -> None:
    known = {f"HEADRACE_{name.upper()}" for name in Settings.model_fields}
    given = {key for name in OURS for key in SERVICES[name]["environment"] if key.startswith("HEADRACE_")}
    assert {key.removesuffix("_FILE") for key in given} <= known


@pytest.mark.parametrize("script", ["entrypoint.sh", "postgres/role.sh"])
def test_scripts_parse(script: str) -> None:
    told = run("sh", "-n", DEPLOY / script)
    assert told.returncode == 0, told.stderr


# -- the page -------------------------------------------------------------------------------------


def probes() -> Iterator[tuple[str, str]]:
    yield "Dockerfile", re.findall(r"127\.0\.0\.1:8000(/[\w/]+)", DOCKERFILE)[0]
    for (_, name), each in KUBERNETES.items():
        for container in each.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe in container:
                    yield f"{name} {probe}", container[probe]["httpGet"]["path"]


@pytest.mark.parametrize(("where", "path"), list(probes()))
def test_a_probe_asks_a_path_that_answers_without_a_credential(where: str, path: str) -> None:
    app = FastAPI()
    Headrace("memory://").install(app)
    operation = app.openapi()["paths"][path]["get"]
    assert "security" not in operation


def test_the_pod_of_a_worker_has_longer_to_stop_than_it_takes() -> None:
    pod = KUBERNETES["Deployment", "worker"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    asleep_s = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    grace_s = {each["name"]: each.get("value") for each in container["env"]}["HEADRACE_GRACE_S"]
    most_s = asleep_s + float(grace_s) + Settings.model_fields["kill_grace_s"].default + 2 * MARGIN_S
    assert pod["terminationGracePeriodSeconds"] > most_s


@pytest.mark.parametrize("name", ["api", "worker"])
def test_a_pod_runs_as_the_image_does(name: str) -> None:
    pod = KUBERNETES["Deployment", name]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["args"][: len(SERVICES[name]["command"][:2])] == SERVICES[name]["command"][:2]
