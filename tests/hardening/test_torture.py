"""The attacker finds what it must, and raises no false alarm."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

import roomcast.torture
from roomcast.torture import space, target
from roomcast.torture.attack import Attack, Plan
from roomcast.torture.publisher import Publisher
from roomcast.torture.reader import Event
from roomcast.torture.record import Position, Record
from roomcast.torture.target import RawAnswer, Target, Unusable
from roomcast.torture.transcript import Transcript
from tests.certificate import Certificate
from tests.conftest import Serve, require
from tests.hardening import faulty_server
from tests.running import PATIENCE, Running, wait_for

COMMAND = [sys.executable, "-m", "roomcast", "torture"]


def plan(**changes: Any) -> Plan:
    few = Plan(seconds=0.6, followers=12, publishers=3, rooms=3, pause=0.004, life=0.15, patience=1.5)
    return Plan(**{**vars(few), **changes})


async def attacked(
    server: faulty_server.Honest, messages: int = 200, cuts: int = 40, fault: str = "", **changes: Any
) -> Attack:
    """Attacks `server` until `messages` were acknowledged and streams were resumed `cuts` times, and then gets the
    verdict. If a violation matches `fault` before that, the attack ends at once. Returns the attack."""
    async with server.serve() as url:
        attack = Attack(Target.parse(url), plan(seconds=PATIENCE, **changes))
        running = asyncio.create_task(attack.run())
        counts = attack.record.counts
        enough = {"acknowledged": messages, "resumes": cuts, "repeated": 3}

        def over() -> bool:
            return running.done() or bool(fault and found(attack, fault))

        while not over() and any(counts[name] < count for name, count in enough.items()):
            await asyncio.wait({running}, timeout=0.01)
        attack.stop()
        while not over():
            await asyncio.wait({running}, timeout=0.01)
        running.cancel()
        await asyncio.wait({running})
        if not running.cancelled():
            running.result()
    return attack


def found(attack: Attack, fault: str) -> bool:
    """Whether the text of a violation matches the pattern `fault`."""
    return any(re.search(fault, said) for said in attack.record.violations)


@pytest.mark.parametrize("retained", [40, 10_000])
async def test_an_honest_server_is_believed(retained: int) -> None:
    server = faulty_server.Honest()
    server.retained = retained
    attack = await attacked(server, messages=600, cuts=100)
    assert attack.record.violations == [], attack.plan
    counts = attack.record.counts
    for name in ("acknowledged", "deliveries", "resumes", "repeated", "cuts"):
        assert counts[name] > 0, name
    assert bool(counts["gaps"]) == (retained == 40)
    assert any(len(follower.transcripts) > 1 for follower in attack.followers)


async def test_a_server_that_is_full_breaks_no_promise() -> None:
    attack = await attacked(faulty_server.HasRoomForFew(), cuts=10)
    assert attack.record.violations == [], attack.plan
    assert attack.record.counts["sent away"] > 0


async def test_a_follower_that_a_proxy_sends_away_comes_back() -> None:
    attack = await attacked(faulty_server.SendsAwayLikeAProxy(), patience=PATIENCE)
    assert attack.record.violations == [], attack.plan
    assert attack.record.counts["sent away"] > 0


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (faulty_server.LosesAcknowledged, "never heard .+ and of no gap"),
        (faulty_server.LosesForOneFollower, "follower .+ never heard"),
        (faulty_server.LosesFromHistory, "the history of .+ never heard"),
        (faulty_server.LosesFromHistoryBackwards, "differs when it is read backwards"),
        (faulty_server.Doubles, r"heard fake-(\d+) after \1$"),
        (faulty_server.DoublesAtTheSeam, r"heard fake-(\d+) after \1$"),
        (faulty_server.Reorders, r"heard fake-\d+ after \d+$"),
        (faulty_server.TellsAnother, "for one and .+ for another"),
        (faulty_server.TellsOfOtherRooms, "which it does not follow"),
        (faulty_server.TellsNoGap, "of no gap that names it"),
        (faulty_server.TellsAFalseGap, "where nothing is lost"),
        (faulty_server.TellsAGapInAnotherRoom, "was told of a gap in .'x'., and follows"),
        (faulty_server.TellsTooSmallAGap, r"of at most \d+, and lost \d+"),
        (faulty_server.TellsTooLargeAGap, "more than there can be"),
        (faulty_server.TellsAGapThatEndsElsewhere, "was told of a gap up to .+ under the id"),
        (faulty_server.TellsAGapForWhatIsThere, r"and \d+ is still there"),
        (faulty_server.BatchesWithHoles, "which are not consecutive"),
        (faulty_server.StoresWhatItRefuses, "was refused, and stored all the same"),
        (faulty_server.ForgetsKeys, "is stored twice"),
        (faulty_server.ChangesTheEpoch, "the log's epoch changed from fake to other"),
        (faulty_server.GoesBackInTime, "of 2026-11-21.+ after 2026-11-22"),
        (faulty_server.Stalls, "was not caught up after|never heard"),
        (faulty_server.CountsWrong, "were replayed"),
        (faulty_server.SaysNonsense, "was sent what is no event stream"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
async def test_a_faulty_server_is_found_out(server: type[faulty_server.Honest], words: str) -> None:
    """An attack is random, and on a busy machine it may miss the fault: one of three attacks must find it."""
    for _ in range(3):
        attack = await attacked(server(), fault=words)
        if found(attack, words):
            return
    raise AssertionError(attack.record.violations)


def test_a_stream_under_another_epoch_is_no_second_broken_promise() -> None:
    record = Record()
    record.same_epoch(Position("fake", 1))
    heard = Transcript(record, "follower 1", ["a"])
    heard.hear(Event("live", "other-0", {"replayed": 0}))
    heard.judge()
    assert record.violations == ["the log's epoch changed from fake to other: what it held is lost"]


@pytest.mark.parametrize("log", ["memory:", "sqlite:test.db"])
@pytest.mark.parametrize("retained", [10, 10_000])
async def test_roomcast_passes_a_short_attack(serve: Serve, log: str, retained: int) -> None:
    server = serve("--log", log, "--max-messages", str(retained), "--no-access-log")
    attack = Attack(Target.parse(server.url), plan(seconds=2, followers=40, rooms=5, life=0.4, patience=PATIENCE))
    await attack.run()
    assert attack.record.violations == [], attack.plan
    gaps, deleted = (attack.record.counts[name] for name in ("gaps", "deleted"))
    assert gaps or retained > 10
    assert not gaps or retained == 10 or deleted
    assert "Traceback" not in server.said()


async def test_an_attack_that_would_trim_messages_of_others_does_nothing(serve: Serve) -> None:
    server = serve("--max-messages=10000")
    stored = server.publish("precious")
    attack = Attack(Target.parse(server.url), Plan())
    with pytest.raises(Unusable, match=r"10,000 messages .* the 1 messages that are there would go\. .*--yes"):
        await attack.run()
    assert not attack.begun
    assert server.get(f"/messages/{stored['id']}").status_code == 200
    assert len(server.get("/rooms").json()["rooms"]) == 1


async def test_an_attack_that_is_confirmed_or_trims_nothing_of_others_goes_on(serve: Serve) -> None:
    server = serve("--max-messages=10")
    server.publish("x")
    allowed = Attack(Target.parse(server.url), plan(overrun=True, patience=PATIENCE))
    await allowed.run()
    assert allowed.record.counts["acknowledged"] > 0
    large = serve("--max-messages=1000000", "--max-bytes=1000000000", "--log=memory:")
    large.publish("x")
    small = Attack(Target.parse(large.url), plan(patience=PATIENCE))
    await small.run()
    assert small.record.counts["acknowledged"] <= space.max_messages(0.6, 3, 0.004)
    assert small.record.violations == []


@pytest.mark.parametrize(("messages", "allowed"), [(8, True), (10, False)])
async def test_the_attacks_messages_must_fit_beside_the_retained_ones(messages: int, allowed: bool) -> None:
    counts = {"messages": 2, "messages_limit": 11, "bytes": 10, "bytes_limit": 10_000}
    metrics = "".join(f"roomcast_log_{name} {float(value)}\n" for name, value in counts.items())
    answers = {"/rooms": b'{"rooms":[{"messages":2}]}', "/metrics": metrics.encode()}
    await _checked(answers, messages, allowed)


async def test_a_server_that_does_not_say_what_it_retains_is_attacked_only_if_it_is_empty() -> None:
    await _checked({"/rooms": b'{"rooms":[]}', "/metrics": b""}, 10**9, True)
    await _checked({"/rooms": b'{"rooms":[{"messages":2}]}', "/metrics": b"Not Found"}, 1, False)


async def _checked(answers: dict[str, bytes], messages: int, allowed: bool) -> None:
    class Fake:
        async def get(self, path: str, accept: str = "") -> RawAnswer:
            return RawAnswer(200, answers[path])

    checking = space.check_space(Fake(), messages)  # type: ignore[arg-type]
    if allowed:
        await checking
    else:
        with pytest.raises(Unusable, match="--yes"):
            await checking


async def test_the_rooms_of_an_attack_are_removed_if_the_server_allows_it() -> None:
    asked: list[tuple[str, str]] = []

    class Fake:
        async def ask(self, method: str, path: str, accept: str = "") -> RawAnswer:
            asked.append((method, path))
            return RawAnswer(204 if len(asked) < 3 else 501, b"")

    await space.remove_rooms(Fake(), ["a b", "c/d", "e", "f"])  # type: ignore[arg-type]
    assert asked == [("DELETE", "/rooms/a%20b"), ("DELETE", "/rooms/c%2Fd"), ("DELETE", "/rooms/e")]


async def rise(attack: Attack, name: str, by: int) -> None:
    """Waits until the count `name` of the attack has grown by `by`."""
    wanted = attack.record.counts[name] + by
    await asyncio.to_thread(wait_for, lambda: attack.record.counts[name] >= wanted, f"{by} more {name}")


async def test_a_server_that_is_away_for_a_while_breaks_no_promise(serve: Serve) -> None:
    """The server is killed, and later drained, while followers and publishers are connected."""
    server = serve()
    attack = Attack(Target.parse(server.url), plan(seconds=60, patience=PATIENCE))
    running = asyncio.create_task(attack.run())
    for end in (Running.kill, Running.terminate):
        await rise(attack, "acknowledged", 100)
        await asyncio.to_thread(end, server)
        await rise(attack, "cuts", 2 * len(attack.followers))  # the end of the stream, and a refused connection
        await rise(attack, "tried again", len(attack.publishers))
        server = await asyncio.to_thread(serve, "--port", str(server.port))
    attack.stop()
    await running
    assert attack.record.violations == []
    assert attack.record.counts["tried again"] > 0


def test_a_message_published_later_has_the_greater_id() -> None:
    record = Record()
    record.attempt(["one"], "a")
    record.acknowledge(["one"], [{"id": "x-7", "room": "a", "text": "one"}])
    record.attempt(["two"], "a")
    record.acknowledge(["two"], [{"id": "x-6", "room": "a", "text": "two"}])
    assert record.violations == ["'two' is stored as 6, and was published when 7 was stored"]


def test_a_key_may_be_forgotten_with_its_message() -> None:
    record = Record()
    record.attempt(["one"], "a")
    for seq in (7, 30):
        record.identify({"id": f"x-{seq}", "room": "a", "text": "one"})
    record.judge_doubles(retained=10)
    assert record.violations == []


async def test_a_publisher_that_meets_503_waits_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    answers = iter([503, 503, 201])

    async def answer(self: Publisher, request: object) -> RawAnswer:
        fields = {"content-type": "application/problem+json", "retry-after": "7"}
        return RawAnswer(next(answers), b'{"id": "x-1", "room": "a", "text": "p-0"}', fields)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(Publisher, "_post", answer)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    record = Record()
    assert await Publisher(Target("x", 1, False, ""), record, ["a"], "p", Random(1)).publish("a")
    assert slept == [7, 7]
    assert (record.counts["acknowledged"], record.counts["tried again"], record.violations) == (1, 2, [])


@pytest.mark.parametrize("id", ["x", 7, None, "x-9223372036854775808"])
def test_an_id_of_another_form_is_a_value_error(id: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is Python's
        Position.parse(id)
    with pytest.raises(ValueError):  # noqa: PT011
        Transcript(Record(), "follower 1", ["a"]).hear(Event("message", id, {}))


class AlwaysFirst(Random):
    """A source of chance with which a publisher repeats each publish with a key, and deletes each other one."""

    def random(self) -> float:
        return 0.0


MALFORMED = [
    b"<p>",
    b"7",
    b"{}",
    b'{"id": "x", "room": "a", "text": "p-0"}',
    b'{"id": 7, "room": "a", "text": "p-0"}',
    b'{"id": "x-9223372036854775808", "room": "a", "text": "p-0"}',
    b'{"id": "x-2", "room": "a", "text": ["p-0"]}',
    b'{"room": "a", "text": "another"}',
    b"[]",
]
"""Bodies of a 201."""


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("body", MALFORMED)
async def test_a_malformed_answer_to_a_publish_is_one_violation(
    monkeypatch: pytest.MonkeyPatch, body: bytes, keyed: bool
) -> None:
    sent: list[str] = []

    async def answer(self: Publisher, *request: object) -> RawAnswer:
        sent.append("request")
        return RawAnswer(201, body)

    monkeypatch.setattr(Publisher, "_post", answer)
    monkeypatch.setattr(Publisher, "_send", answer)
    record = Record()
    await Publisher(Target("x", 1, False, ""), record, ["a"], "p", AlwaysFirst()).publish("a", keyed=keyed)
    assert len(record.violations) == 1
    assert record.violations[0].startswith(
        ("a publish was answered with 201: ", "the publish of 'p-0' was answered")
    )
    assert sent == ["request"]


@pytest.mark.parametrize("body", MALFORMED[:-2])
async def test_a_malformed_answer_to_a_repetition_is_a_violation(
    monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    bodies = iter([b'{"id": "x-1", "room": "a", "text": "p-0"}', body])

    async def answer(self: Publisher, request: object) -> RawAnswer:
        return RawAnswer(201, next(bodies))

    monkeypatch.setattr(Publisher, "_post", answer)
    record = Record()
    await Publisher(Target("x", 1, False, ""), record, ["a"], "p", AlwaysFirst()).publish("a")
    assert record.counts["repeated"] == 1
    assert record.violations[-1] == f"the repetition of a publish was answered with 201: {body!r}"


@pytest.mark.parametrize(
    "url",
    ["localhost:8080", "ftp://x", "http://", "http://x:99999", "http://x/?y", "http://a b/", "http://x/\r\n"],
)
def test_a_text_that_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(Unusable, match="such as http://localhost:8080"):
        Target.parse(url)


@pytest.mark.parametrize(
    ("url", "authority", "prefix"),
    [
        ("http://localhost:8080", "localhost:8080", ""),
        ("https://example.org/live/", "example.org", "/live"),
        ("http://[::1]:81/", "[::1]:81", ""),
    ],
)
def test_a_url_says_where_the_server_is(url: str, authority: str, prefix: str) -> None:
    parsed = Target.parse(url)
    assert (parsed.authority, parsed.prefix) == (authority, prefix)


def torture(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    few = ["--followers=5", "--publishers=1", "--rooms=2", "--minutes=0.01"]
    return subprocess.run([*COMMAND, *few, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_reason_of_a_failed_request_is_the_systems_and_not_asyncios() -> None:
    error = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 8080)")
    assert target.reason(error) == os.strerror(errno.ECONNREFUSED)
    assert target.reason(socket.gaierror(socket.EAI_NONAME, "Name or service not known")).startswith("Name or")
    assert target.reason(TimeoutError()) == "timed out"


def test_the_command_says_what_it_found(server: Running) -> None:
    done = torture(server.url, "--seed=7")
    assert done.returncode == 0, done
    assert re.search(r"^ +[1-9]\d*  acknowledged", done.stdout, re.MULTILINE)
    assert "seed 7" in done.stdout
    assert done.stdout.endswith("\nNo promise was broken.\n")
    assert done.stderr == ""


def test_the_command_ends_with_1_if_a_promise_broke() -> None:
    async def run() -> subprocess.CompletedProcess[str]:
        async with faulty_server.CountsWrong().serve() as url:
            return await asyncio.to_thread(torture, url)

    done = asyncio.run(run())
    assert done.returncode == 1
    assert " times:\n  follower" in done.stdout


def test_the_command_refuses_what_it_cannot_use_in_one_sentence(server: Running) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        for url, words in [
            (nobody, "is the server running"),
            ("localhost", "is not the URL of a server"),
            (f"{server.url}/messages", "check that the URL"),
            (server.url.replace("http:", "https:"), "is the server running"),
        ]:
            done = torture(url)
            assert (done.returncode, done.stdout) == (2, ""), done
            assert re.fullmatch(rf"roomcast: .*{words}.*\n", done.stderr), done.stderr


def test_the_first_interrupt_ends_with_the_verdict_and_the_second_at_once(server: Running) -> None:
    for interrupts, status, words in [(1, 0, "No promise was broken.\n"), (2, 130, "before the last message")]:
        arguments = [*COMMAND, "--minutes=9", "--followers=20", "--yes", server.url]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                before = server.metric("roomcast_messages_published_total")
                wait_for(lambda: server.metric("roomcast_messages_published_total") > before + 100, "an attack")  # noqa: B023
                if interrupts == 2:
                    server.process.send_signal(
                        signal.SIGSTOP
                    )  # so that the attack still waits after the first interrupt
                for _ in range(interrupts):
                    process.send_signal(signal.SIGINT)
                    if interrupts == 2:
                        wait_for(lambda: signal_taken(process.pid), "the signal to be taken")
                out, err = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
                server.process.send_signal(signal.SIGCONT)
            assert process.returncode == status, (out, err)
            assert words in out
            assert "Traceback" not in err


def signal_taken(pid: int) -> bool:
    """Whether the process has no pending SIGINT."""
    pending = re.findall(r"^(?:Sig|Shd)Pnd:\s+(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return not any(int(mask, 16) >> (signal.SIGINT - 1) & 1 for mask in pending)


def test_in_a_terminal_the_table_is_redrawn_in_place(server: Running) -> None:
    command = " ".join([*COMMAND, "--minutes=0.03", "--followers=3", server.url])
    done = subprocess.run(
        [require("script"), "-qec", command, "/dev/null"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert re.search(r"\x1b\[\d+F\x1b\[J", done.stdout)
    assert done.stdout.count("acknowledged") > done.stdout.count("\x1b[J")


async def test_it_attacks_through_tls_a_prefix_and_a_header(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = await asyncio.to_thread(Certificate, tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert, certificate.key)
    server = serve()
    async with front(server.port, context) as port:
        url, header = f"https://localhost:{port}/live/", ("X-Let-Me", "in")
        with pytest.raises(Unusable, match="not trusted"):
            await Attack(Target.parse(url, (header,)), plan()).run()
        target._context.cache_clear()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.cert))
        with pytest.raises(Unusable, match="answered with 403"):
            await Attack(Target.parse(url), plan()).run()
        attack = Attack(Target.parse(url, (header,)), plan(patience=PATIENCE))
        await attack.run()
        target._context.cache_clear()
    assert attack.record.violations == []
    assert attack.record.counts["resumes"] > 0


@asynccontextmanager
async def front(behind: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Runs a proxy that serves `/live/` to clients that send the header X-Let-Me. Gives its port."""

    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(pass_through(reader, writer, behind)))

    listener = await asyncio.start_server(serve, "localhost", 0, family=socket.AF_INET, ssl=context)
    async with listener:
        yield listener.sockets[0].getsockname()[1]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)  # so that the transports are closed


async def pass_through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behind: int) -> None:
    writers = [writer]
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"\r\nX-Let-Me: in\r\n" not in head:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            raise ConnectionError("no such header")
        back_reader, back = await asyncio.open_connection("127.0.0.1", behind)
        writers.append(back)
        back.write(one_request(head))
        async with asyncio.TaskGroup() as both:
            there = both.create_task(pass_on(reader, back))
            await pass_on(back_reader, writer)
            there.cancel()
    except* (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        for one in writers:
            one.transport.abort()


def one_request(head: bytes) -> bytes:
    """The head without the prefix, and with `Connection: close`."""
    return head.replace(b" /live/", b" /", 1).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def test_the_attacker_shares_no_code_with_the_server() -> None:
    for file in Path(roomcast.torture.__file__).parent.glob("*.py"):
        imported = re.findall(r"^\s*(?:from|import) +(roomcast\S*)", file.read_text(), re.MULTILINE)
        assert all(name.startswith(("roomcast.torture.", "roomcast.terminal")) for name in imported), (
            file.name,
            imported,
        )
