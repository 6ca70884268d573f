"""The released sdist and wheel: built, installed into an empty environment with hashes, and run."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomcast.version import __version__
from tests.running import Running

ROOT = Path(__file__).parents[2]
UV = str(Path(sys.executable).with_name("uv"))


def uv(*words: str) -> None:
    done = subprocess.run([UV, *words], cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both. The wheel is built from the sdist, so it lacks what the sdist lacks."""
    folder = tmp_path_factory.mktemp("dist")
    uv(
        "build",
        "--quiet",
        "--offline",
        "--no-build-isolation",
        "--python",
        sys.executable,
        "--out-dir",
        str(folder),
    )
    return folder


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment into which the lock and the wheel, by its hash, were installed."""
    folder = tmp_path_factory.mktemp("environment")
    [wheel] = built.glob("*.whl")
    asked = folder / "requirements.txt"
    hashed = f"roomcast @ {wheel.as_uri()} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    asked.write_text((ROOT / "requirements/run.txt").read_text() + hashed)
    uv("venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
    python = str(folder / "venv/bin/python")
    uv("pip", "install", "--quiet", "--python", python, "--require-hashes", "--requirement", str(asked))
    return folder / "venv"


@pytest.fixture(scope="module")
def server(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    command = [str(environment / "bin/roomcast"), "serve", "--port=0", "--page-port=0"]
    server = Running(command, tmp_path_factory.mktemp("served"), {"PYTHONPATH": ""})
    server.port = int(server.wait_until_it_says(r"follow +http://\S+?:(\d+)/")[1])
    yield server
    server.kill()


def test_the_installed_package_serves_stores_and_has_its_page(server: Running) -> None:
    stored = server.publish("from a wheel")
    assert server.get(f"/messages/{stored['id']}").json() == stored
    page = server.get("/").text
    for name in re.findall(r'(?:src|href)="(page/[^"]+)"', page):
        assert server.get(f"/{name}").status_code == 200
    assert "export" in server.get("/roomcast.js").text
    assert server.get("/openapi.json").json()["info"]["version"] == __version__


def test_its_client_and_commands_need_nothing_more(environment: Path, server: Running) -> None:
    said = subprocess.run(
        [environment / "bin/roomcast", "publish", "developers", "once more", "--url", server.url],
        env={"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert server.get(f"/messages/{said.stdout.strip()}").json()["text"] == "once more"


def test_the_wheel_has_every_file_of_the_package_and_no_other(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {name.removeprefix("src/") for name in tracked("src")}


def test_the_sdist_has_all_files_for_building_deploying_and_learning(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("src", "docs", "examples", "deploy", "requirements")
    files = (
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "Containerfile",
        "compose.yaml",
        "pyproject.toml",
    )
    assert tracked(*folders, *files) - names == set()
    assert not {name for name in names if name.endswith((".pyc", ".db"))}


def tracked(*places: str) -> set[str]:
    """All files of the repository, including those that are not committed yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *places]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
