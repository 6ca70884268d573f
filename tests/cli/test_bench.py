"""`roomcast bench`: its figures, its table, and the detection of losses."""

from __future__ import annotations

import json
import queue
import re
import signal
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from roomcast.auth.keys import sha256
from roomcast.cli.load.address import Address
from tests.cli.shell import Program, run
from tests.conftest import Serve
from tests.running import Running, wait_for

SHORT = ("--seconds=1", "--followers=20", "--rooms=3", "--rate=50")


def test_a_run_prints_deliveries_delays_and_that_nothing_was_lost(server: Running) -> None:
    done = run("bench", server.url, *SHORT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("20 followers of 3 rooms, 50 messages a second of 200 characters\n")
    published = int(_figure(done.stdout, "published"))
    expected = sum((7, 7, 6)[n % 3] for n in range(published))
    assert 0 < published <= 50
    assert int(_figure(done.stdout, "delivered")) == expected
    assert re.search(r"delay +\d+\.?\d* ms  p50, \d+\.?\d* ms p99, \d+\.?\d* ms p99.9", done.stdout)
    assert re.search(r"^[\d,]+ deliveries a second; nothing was lost\.$", done.stdout, re.MULTILINE)
    assert server.metric("roomcast_messages_published_total") == published


def test_the_table_is_updated_in_a_terminal(server: Running) -> None:
    with Program("bench", server.url, "--seconds=2", "--followers=5", url="", terminal=True) as bench:
        assert bench.wait() == 0
    pictures = bench.out.split("\x1b[J")
    assert len(pictures) >= 3
    counts = [int(_figure(picture, "delivered")) for picture in pictures if "delivered" in picture]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    assert "nothing was lost" in pictures[-1]


def test_lines_of_the_table_are_cut_to_a_narrow_terminal(server: Running) -> None:
    options = ("--seconds=1.5", "--followers=5")
    with Program("bench", server.url, *options, url="", terminal=True, columns=50) as bench:
        assert bench.wait() == 0
    *drawn, end = bench.out.split("\x1b[J")
    assert len(drawn) >= 2
    assert max(len(line) for picture in drawn for line in picture.split("\r\n")[:-1]) < 50
    assert "from a post to its delivery" in end, "the last one stays, and is whole"


def test_ctrl_c_ends_it_quietly_with_status_130(server: Running) -> None:
    with Program("bench", server.url, "--seconds=60", "--followers=5", url="", terminal=True) as bench:
        bench.until(r"delivered +[1-9]")
        bench.process.send_signal(signal.SIGINT)
        assert bench.wait() == 130
    assert "Traceback" not in bench.out


def test_a_restart_during_a_run_causes_cuts_and_no_loss(serve: Serve) -> None:
    server = serve()
    with Program("bench", server.url, "--seconds=3", "--followers=5", "--rate=20", url="") as bench:
        wait_for(lambda: server.metric("roomcast_messages_published_total") > 3, "messages")
        server.kill()
        serve(f"--port={server.port}")
        assert bench.wait() == 0, bench.out
    assert re.search(r"wrong +0  5 cuts, 0 gaps, 0 duplicated", bench.out)
    assert "nothing was lost" in bench.out


TIMES = {"lose": (0, 0), "double": (2, 2), "give one's to the other": (2, 0)}
"""How often each of two followers gets a message, by the fault."""

_IMPATIENT = [
    *(sys.executable, "-c"),
    "from roomcast.cli.load import run; run._LATE = 4.0; from roomcast.cli.main import main; main()",
]
"""A bench that waits 4 s, and not 15 s, for a message that does not come."""


class FaultyServer(BaseHTTPRequestHandler):
    """Answers 201, and has its `fault` at the third of each five messages: never at the last one, after which the
    bench does not wait."""

    protocol_version = "HTTP/1.1"
    fault: str
    followers: list[queue.Queue[bytes]]
    lock: threading.Lock
    posted: int

    def do_GET(self) -> None:
        mine: queue.Queue[bytes] = queue.Queue()
        self.followers.append(mine)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b'id: faulty-0\nevent: live\ndata: {"replayed":0}\n\n')
        assert parse_qs(urlsplit(self.path).query)["replay"] == ["none"]
        while data := mine.get():
            self.wfile.write(data)

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            kind = type(self)
            kind.posted += 1
            data = json.dumps({"id": f"faulty-{kind.posted}", **message}, separators=(",", ":"))
            block = f"id: faulty-{kind.posted}\ndata: {data}\n\n".encode()
            times = TIMES.get(self.fault, (1, 1)) if kind.posted % 5 == 3 else (1, 1)
            for follower, each in zip(self.followers, times, strict=True):
                for _ in range(each):
                    follower.put(block)
        self.send_response(507 if self.fault == "refuse" and kind.posted % 5 == 3 else 201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def faulty(request: pytest.FixtureRequest) -> Iterator[str]:
    kind = type(
        "Faulty", (FaultyServer,), {"fault": request.param, "followers": [], "lock": threading.Lock(), "posted": 0}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    for follower in kind.followers:  # type: ignore[attr-defined]
        follower.put(b"")
    server.server_close()


@pytest.mark.parametrize(
    ("faulty", "words"),
    [
        ("nothing", "nothing was lost"),
        ("lose", "{twice} deliveries were lost"),
        ("double", "wrong +{twice}  0 cuts, 0 gaps, {twice} duplicated or out of order"),
        ("double", "{twice} were duplicated or out of order, and others may be lost"),
        ("give one's to the other", "{once} were duplicated or out of order, and others may be lost"),
        ("refuse", "published .* {once} refused: the server answers 507"),
    ],
    indirect=["faulty"],
)
def test_a_server_that_loses_or_duplicates_messages_is_detected(faulty: str, words: str) -> None:
    done = run("bench", faulty, "--followers=2", "--rate=20", "--seconds=1", program=_IMPATIENT)
    published = re.search(r"published +(\d+) .* (\d+) refused", done.stdout)
    assert published, done.stdout
    faults = (int(published[1]) + int(published[2]) + 2) // 5
    assert faults > 0
    assert re.search(words.format(once=faults, twice=2 * faults), done.stdout), done.stdout
    assert done.returncode == (0 if "nothing" in words else 1)
    assert "Traceback" not in done.stderr


def test_messages_are_posted_as_the_user_of_the_credential(serve: Serve, tmp_path: Path) -> None:
    key = "rck_anna_" + 43 * "a"
    config = tmp_path / "roomcast.toml"
    row = f'[[key]]\nname = "anna"\nsha256 = "{sha256(key)}"\nread = ["*"]\npublish = ["*"]\nuser = "anna"\n'
    config.write_text(row)
    done = run("bench", serve(f"--config={config}").url, *SHORT, ROOMCAST_TOKEN=key)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(_figure(done.stdout, "published")) > 0


def test_a_name_of_a_header_field_is_sent_once_whatever_its_case() -> None:
    headers = {"authorization": "Bearer t", "host": "b", "ACCEPT": "x", "idempotency-key": "mine"}
    address = Address.parse("http://u:p@a:81", headers)
    fields = address.request("POST", "/messages", b"{}", Accept="y", Idempotency_Key="k").split(b"\r\n")[1:-2]
    assert sorted(fields) == [
        b"accept: y",
        b"authorization: Bearer t",
        b"content-length: 2",
        b"host: b",
        b"idempotency-key: k",
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["http://127.0.0.1:9"], 1, "roomcast: the server cannot be reached"),
        (["ftp://127.0.0.1"], 2, "http://localhost:8080"),
        (["http://a..b"], 2, "http://localhost:8080"),
        (["--followers=1", "--rooms=2"], 2, "--rooms"),
        (["--seconds=nan"], 2, "not a finite number"),
        (["--rate=nan"], 2, "not a finite number"),
    ],
)
def test_a_mistake_is_reported_in_one_sentence(arguments: list[str], status: int, words: str) -> None:
    done = run("bench", *arguments)
    assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_refuses_followers_is_reported(serve: Serve) -> None:
    server = serve()
    done = run("bench", f"{server.url}/elsewhere", *SHORT)
    assert (done.returncode, done.stdout) == (1, "")
    assert "followers: the server answers 404" in done.stderr
    assert done.stderr.count("\n") == 1


def _figure(text: str, name: str) -> str:
    found = re.search(rf"{name} +([\d,]+)", text)
    assert found, text
    return found[1].replace(",", "")
