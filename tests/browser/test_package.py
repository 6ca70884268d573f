"""The npm package: packed, typed, run in Node, and bundled with the components of docs/howto/react-vue.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Page, expect

from roomcast.version import __version__
from tests.conftest import require
from tests.running import PATIENCE, Running, start_roomcast

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "tests/interop/node_modules"
BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```$", (ROOT / "docs/howto/react-vue.md").read_text(), re.MULTILINE | re.DOTALL
)
IN_NODE, REACT, VUE = (text for _, text in BLOCKS)
SERVER = "http://localhost:8080/"
PAGES = {
    "react": """
        import { StrictMode } from "react";
        import { createRoot } from "react-dom/client";
        import { Room } from "./room.tsx";
        createRoot(document.body).render(<StrictMode><Room name="developers" /></StrictMode>);
    """,
    "vue": """
        import { createApp, h, ref } from "vue";
        import { useRoom } from "./room.tsx";
        createApp({
          setup() {
            const { messages, state } = useRoom(ref("developers"));
            const line = ({ user, text }) => h("li", `${user}: ${text}`);
            return () => [h("p", { role: "status" }, state.value.name), h("ul", messages.value.map(line))];
          },
        }).mount(document.body);
    """,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    server = start_roomcast(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the package, as `make dist` makes it."""
    if not (MODULES / "esbuild").exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no esbuild: run tests/setup.sh")
    require("node")
    folder = tmp_path_factory.mktemp("packed")
    done = run([sys.executable, str(ROOT / "js/build.py"), "js"], folder)
    return Path(done.strip())


@pytest.fixture(scope="module")
def folder(archive: Path, server: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the package, React and Vue are installed."""
    folder = tmp_path_factory.mktemp("project")
    modules = folder / "node_modules"
    modules.mkdir()
    for installed in MODULES.iterdir():
        (modules / installed.name).symlink_to(installed)
    with tarfile.open(archive) as packed:
        packed.extractall(modules, filter="data")
    (modules / "package").rename(modules / "roomcast")
    (folder / "package.json").write_text('{"type": "module"}')
    for name, text in (("example.ts", IN_NODE), ("react/room.tsx", REACT), ("vue/room.tsx", VUE)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.replace(SERVER, f"http://localhost:{server.port}/"))
    return folder


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def bundle(source: Path, *flags: str) -> Path:
    target = source.with_name("bundle.js")
    outcome = [f"--outfile={target}", "--bundle", "--log-level=error", "--jsx=automatic", *flags]
    run([str(MODULES / "esbuild/bin/esbuild"), str(source), *outcome], source.parent)
    return target


def test_the_package_has_the_served_module_and_nothing_more(archive: Path, server: Running) -> None:
    with tarfile.open(archive) as packed:
        names = set(packed.getnames())
        module = packed.extractfile("package/roomcast.js")
        assert module
        assert module.read() == server.get("/roomcast.js").content
    files = {"package.json", "README.md", "LICENSE", "roomcast.js", "roomcast.d.ts"}
    assert names == {f"package/{name}" for name in files}


def test_its_version_is_the_servers() -> None:
    assert json.loads((ROOT / "js/package.json").read_text())["version"] == __version__


def test_its_types_hold_for_the_examples_of_the_docs(folder: Path) -> None:
    wrong = "// @ts-expect-error: a message has more\nexport const message: Message = {};\n"
    (folder / "wrong.ts").write_text(f'import type {{ Message }} from "roomcast";\n{wrong}')
    flags = ["--noEmit", "--strict", "--jsx", "react-jsx", "--target", "es2024", "--lib", "es2024,dom"]
    flags += ["--module", "esnext", "--moduleResolution", "bundler", "--skipLibCheck"]
    names = ["example.ts", "react/room.tsx", "vue/room.tsx", "wrong.ts"]
    run(["node", str(MODULES / "typescript/bin/tsc"), *flags, *names], folder)


def test_it_follows_and_publishes_in_node(folder: Path, server: Running) -> None:
    program = f"""
        import {{ follow, publish }} from "roomcast";
        const server = "http://localhost:{server.port}/";
        const tell = ({{ name }}) => console.log(name);
        const following = follow({{ server, rooms: "node", onMessage: heard, onState: tell }});
        function heard({{ text }}) {{ console.log(text); following.close(); }}
        await publish({{ room: "node", text: "moin" }}, {{ server }});
    """
    (folder / "node.mjs").write_text(program)
    said = run(["node", "node.mjs"], folder).split()
    assert said[0] == "connecting"
    assert "moin" in said


def test_without_a_server_it_says_what_is_missing(folder: Path) -> None:
    (folder / "nowhere.mjs").write_text(
        'import { follow, publish } from "roomcast";\n'
        'await publish({ room: "a", text: "b" }).catch((error) => console.log(error.message));\n'
        'try { follow({ rooms: "a" }); } catch (error) { console.log(error.message); }\n'
    )
    assert run(["node", "nowhere.mjs"], folder).count("name the server") == 2


def test_the_example_runs_bundled_for_node(folder: Path, server: Running) -> None:
    before = server.metric("roomcast_messages_published_total")
    run(["node", str(bundle(folder / "example.ts", "--format=esm", "--platform=node"))], folder)
    assert server.metric("roomcast_messages_published_total") == before + 1


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    """A site of another origin that serves the bundles, each with a page of its own."""

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            pass

    for name, text in PAGES.items():
        (folder / name / "main.jsx").write_text(text)
        bundle(folder / name / "main.jsx")  # a classic script instead of a module, as in an old page
        page = '<!doctype html><title>room</title><body><script src="bundle.js"></script>'
        (folder / name / "index.html").write_text(page)
    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as http:
        thread = Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join(PATIENCE)


@pytest.mark.only_in("chromium", because="what is bundled is the module, which other tests run in both")
@pytest.mark.parametrize("framework", PAGES)
def test_a_component_of_the_docs_shows_what_is_published(
    page: Page, site: str, server: Running, framework: str
) -> None:
    server.publish(f"before {framework}", user="ada")
    page.goto(f"{site}/{framework}/")
    expect(page.get_by_role("listitem").filter(has_text=f"ada: before {framework}")).to_have_count(1)
    expect(page.get_by_role("status")).to_have_text("live")
    server.publish(f"after {framework}", user="ada")
    expect(page.get_by_role("listitem").filter(has_text=f"ada: after {framework}")).to_have_count(1)
