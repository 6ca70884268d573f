"""The Containerfile, compose.yaml and docs/howto/containers.md, carried out in namespaces without an engine."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from roomcast.model.settings import OPTIONS
from tests.deploy.engine import Engine, Image, missing
from tests.running import PATIENCE, Running, wait_for

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/howto/containers.md").read_text()
BUILD, TRY, PUBLISH, KEYS, RUN, COMPOSE, ASK = (
    block.replace("\\\n", "").strip()
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
)


class Container:
    """A `docker run` of the docs, in its own namespaces."""

    def __init__(self, engine: Engine, image: Image, folder: Path, command: str) -> None:
        said = options(command)
        self.engine, self.image = engine, image
        self.mounts = {folder / p: at for p, at in (v.split(":")[:2] for v in said.volume) if p.startswith(".")}
        engine.mount(image, self.mounts, said.read_only)
        env = dict(pair.split("=", 1) for pair in said.env)
        self.running = Running(engine.run(image, said.command, env), folder)

    def curl(self, command: str, status: int = 0) -> str:
        """Runs a command of the docs in the container's network, where the server has its own port."""
        command = command.replace("curl ", "curl --silent --show-error --max-time 5 ")
        done = subprocess.run(
            self.engine.enter("bash", "-ec", f"cd {self.running.folder}; {command}"),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == status, (command, done.stdout, done.stderr)
        return done.stdout


def options(command: str) -> argparse.Namespace:
    """The options of a `docker run` of the docs. Fails for one that this test does not know."""
    parser = argparse.ArgumentParser()
    for name in ("-p", "--name", "--stop-timeout", "--cap-drop", "--security-opt"):
        parser.add_argument(name)  # the user has no capabilities here anyway
    for name in ("--rm", "-d", "--read-only"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("-e", dest="env", action="append", default=[])
    parser.add_argument("-v", dest="volume", action="append", default=[])
    parser.add_argument("image", choices=["roomcast"])
    parser.add_argument("command", nargs=argparse.REMAINDER)
    [_, words] = command.split("docker run ")
    return parser.parse_args(shlex.split(words))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Image]]:
    if why := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    assert BUILD == "docker build -f Containerfile -t roomcast ."
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine, engine.build(ROOT / "Containerfile")
    engine.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that the user in the container can enter."""
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    return tmp_path


def say(
    engine: Engine, image: Image, words: Sequence[str], env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    command = engine.run(image, words, env)
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_a_container_starts_only_with_a_decision_on_who_may_read(built: tuple[Engine, Image]) -> None:
    done = say(*built, [], {"ROOMCAST_LOG": "memory:"})
    assert done.returncode == 1
    assert "nobody has said who may read and publish" in done.stderr


def test_a_first_try_serves_as_a_user_without_rights_and_sigterm_drains(
    built: tuple[Engine, Image], folder: Path
) -> None:
    container = Container(*built, folder, TRY.replace("docker run", "docker run --read-only"))
    server = container.running
    try:
        server.wait_until_it_says("^  rights  everybody reads and publishes")
        wait_for(lambda: container.engine.healthy(container.image), "the HEALTHCHECK")
        assert '"text":"Backup done"' in container.curl(PUBLISH)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        assert re.search(r"^Uid:\t10001\t10001", status, re.MULTILINE)
        assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
        written = container.engine.shell(f"ls {container.image.root}/data").split()
        assert "roomcast.db" in written
        with pytest.raises(AssertionError, match="Read-only file system"):
            container.engine.shell(f"touch {container.image.root}/opt/roomcast/new")
        stream = subprocess.Popen(
            container.engine.enter("curl", "-sN", "http://localhost:8080/messages?room=ops"),
            stdout=subprocess.PIPE,
        )
        assert stream.stdout
        assert any(b"Backup done" in line for line in stream.stdout)
        server.process.send_signal(signal.Signals[container.image.stop_signal])
        last = stream.communicate(timeout=PATIENCE)[0]
        assert last.splitlines()[-1].startswith(b"retry: ")
        assert server.process.wait(10) == 0
        assert not container.engine.healthy(container.image)
    finally:
        server.kill()


def test_the_commands_with_rights_refuse_a_stranger_and_serve_the_backend(
    built: tuple[Engine, Image], folder: Path
) -> None:
    engine, image = built
    secret, key, readable = KEYS.splitlines()
    subprocess.run(secret, shell=True, cwd=folder, check=True)
    made = say(engine, image, options(key.partition(" > ")[0]).command, {"ROOMCAST_OPEN": "1"})
    (folder / "key").write_text(made.stdout)
    (folder / "roomcast.toml").write_text(made.stderr)
    subprocess.run(readable, shell=True, cwd=folder, check=True)
    container = Container(engine, image, folder, RUN)
    stranger, backend = ASK.splitlines()
    try:
        container.running.wait_until_it_says("^  rights  strangers read nothing.*keys of shop; tickets")
        assert container.curl(stranger).startswith("HTTP/1.1 401")
        assert '"text":"Backup done"' in container.curl(backend)
    finally:
        container.running.kill()


def test_compose_says_the_same_as_the_command() -> None:
    [service] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values()
    said = options(RUN)
    assert COMPOSE == "docker compose up -d"
    assert service["environment"] == dict(pair.split("=", 1) for pair in said.env)
    files = [volume for volume in said.volume if volume.startswith("./") and "secret" not in volume]
    assert [volume for volume in service["volumes"] if volume.startswith("./")] == files
    assert service["read_only"] is said.read_only is True
    assert service["ports"] == [said.p]
    assert service["cap_drop"] == [said.cap_drop]
    assert service["stop_grace_period"] == f"{said.stop_timeout}s"
    assert service["build"]["dockerfile"] == "Containerfile"


def test_the_composition_with_mongodb_runs_what_the_image_has() -> None:
    [text] = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs/mongodb.md").read_text(), re.MULTILINE | re.DOTALL)
    service = yaml.safe_load(text)["services"]["roomcast"]
    assert service["build"]["dockerfile"] == "Containerfile"
    assert "command" not in service  # so the image's own command decides, by the environment
    assert set(service["environment"]) <= {option.variable for option in OPTIONS.values()}


def test_the_image_speaks_to_mongodb(built: tuple[Engine, Image]) -> None:
    """The server waits for a database that does not answer, so it has the driver."""
    engine, image = built
    log = {"ROOMCAST_OPEN": "1", "ROOMCAST_LOG": "mongodb://127.0.0.1:9/x?w=0"}
    done = say(engine, image, [], log)
    assert done.returncode == 1
    assert "w=0" in done.stderr
