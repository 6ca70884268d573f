"""`roomcast doctor` as a program, and its findings without a proxy."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from roomcast.client.decode import MAX_BLOCK, Event
from roomcast.doctor import client_side, events, examination, fixes, idle, resume, strangers
from roomcast.doctor.finding import Finding, Level
from roomcast.doctor.listening import Recording, listen
from roomcast.doctor.site import Site
from tests.certificate import Certificate
from tests.cli.shell import run
from tests.client.scripted import ScriptedServer, aside
from tests.doctor.test_behind_proxies import examined, faults
from tests.proxies import nginx
from tests.running import PATIENCE, Running, free_port, start_roomcast
from tests.silent import leaves, silent

RIGHTS = """
[[key]]
name = "team"
sha256 = "%s"
read = ["team/*"]
"""
KEY = "rck_team_" + "x" * 43
ME = {"kind": "key", "name": "team", "read": ["*"], "publish": [], "metrics": False, "admin": False}
ME |= {"user": "anonymous", "expires_in": None}

Respond = Callable[[httpx.Request], httpx.Response]
PAGES = {
    "a page": httpx.Response(200, html="<p>Please log in to roomcast</p>"),
    "no object": httpx.Response(200, json=["roomcast"]),
    "no text": httpx.Response(200, content=b"\xff"),
    "other fields": httpx.Response(200, json={"read": True}),
    "other kinds": httpx.Response(200, json={**ME, "read": None}),
}
"""Answers that a proxy may give in roomcast's place."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start_roomcast(tmp_path_factory.mktemp("server"), "--heartbeat=1")
    yield running
    running.kill()


def test_each_check_is_a_line_and_all_well_is_status_0(server: Running) -> None:
    done = run("doctor", server.url, "--idle=1s")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok    server         roomcast ")
    assert all(line.startswith(("ok ", "note ")) for line in lines)
    checks = "server|first event|compression|content type|caching|credential|Last-Event-ID|a cut|TLS|HTTP version|"
    checks += "streams|long URL|large body|strangers|metrics|rooms|CORS|clock|heartbeat|idle stream"
    assert [line[6:20].strip() for line in lines] == checks.split("|")


def test_a_server_that_is_not_there_is_status_2() -> None:
    done = run("doctor", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 2
    assert "no roomcast server answers at" in done.stderr


def test_a_server_other_than_roomcast_is_status_2(server: Running) -> None:
    done = run("doctor", f"{server.url}/elsewhere")
    assert done.returncode == 2
    assert "not by roomcast" in done.stderr


def test_a_fault_is_status_1_with_the_line_that_fixes_it_below(server: Running) -> None:
    done = run("doctor", server.url, "--idle=1s", "--origin=https://example.org")
    assert done.returncode == 1
    assert "fault CORS           pages of https://example.org may not send requests\n" in done.stdout
    assert "\n                     roomcast: --allow-origin https://example.org\n" in done.stdout


def test_a_key_decides_which_room_is_followed(tmp_path: Path) -> None:
    hashed = hashlib.sha256(KEY.encode()).hexdigest()
    (tmp_path / "roomcast.toml").write_text(RIGHTS % hashed)
    server = start_roomcast(tmp_path, "--config=roomcast.toml", "--heartbeat=1")
    found = examined(server.url, {"Authorization": f"Bearer {KEY}"}, idle=1)
    strange = examined(server.url, {"Authorization": "Bearer rck_x_y"}, idle=0.1)
    nobody = examined(server.url, idle=0.1)
    server.kill()
    assert found["credential"].text.startswith("key team: read team/*; publish nothing")
    assert found["first event"].level is Level.OK
    assert faults(found).keys() == {"CORS"}
    assert "refused: 401" in strange["credential"].text
    assert strange["credential"].level is Level.FAULT
    assert nobody["first event"].level is Level.NOTE
    assert nobody["rooms"].text == "/rooms is closed to strangers"


def test_a_server_for_its_own_machine_behind_a_proxy_is_a_fault(server: Running, tmp_path: Path) -> None:
    proxy = nginx(tmp_path, server.port)
    found = faults(examined(f"http://127.0.0.1:{proxy.port}", idle=1))
    proxy.stop()
    assert found["strangers"].fix == "roomcast: --config with rights, --secret-file, or --open"


def test_a_certificate_that_browsers_refuse_is_a_fault(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    server = start_roomcast(tmp_path, "--heartbeat=1", certificate=certificate)
    found = faults(examined(f"https://127.0.0.1:{server.port}", idle=0.1))
    server.kill()
    assert "not trusted" in found["TLS"].text


@pytest.mark.parametrize(
    ("seconds", "level", "text"),
    [(0, "ok", "0.0 s apart"), (3600, "fault", "3600 s ahead of"), (-3600, "fault", "3600 s behind")],
)
def test_a_clock_that_is_an_hour_off_is_a_fault(seconds: int, level: str, text: str) -> None:
    answer = httpx.Response(200, json={"status": "ok", "version": "1", "time": "2026-11-26T12:00:00.000Z"})
    [found] = client_side.clock(answer, 1795694400.0 - seconds)
    assert (found.level.value, text in found.text) == (level, True)


@pytest.mark.parametrize(
    "date", ["soon", "Fri, 99 Nov 2026 12:00:00 GMT", f"Fri, 27 Nov {'9' * 30} 12:00:00 GMT", ""]
)
@pytest.mark.parametrize("body", [b"{}", b'{"time": 1}', b'{"time": "soon"}', b"[]", b"<p>"])
def test_a_time_that_is_malformed_is_no_time(date: str, body: bytes) -> None:
    [found] = client_side.clock(httpx.Response(200, content=body, headers={"Date": date}), 1795694400.0)
    assert (found.level, found.text) == (Level.NOTE, "the server does not send its time")


def test_the_date_of_an_answer_counts_if_its_body_tells_no_time() -> None:
    answer = httpx.Response(200, json={"version": "1"}, headers={"Date": "Thu, 26 Nov 2026 12:00:00 GMT"})
    [found] = client_side.clock(answer, 1795694400.0)
    assert (found.level, found.text) == (Level.OK, "0.0 s apart")


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Respond], None]:
    """A function that makes every site answer as its argument does."""

    def answering(respond: Respond) -> None:
        def client(site: Site, *, credential: bool = True) -> httpx.AsyncClient:
            return httpx.AsyncClient(base_url=site.url, transport=httpx.MockTransport(respond))

        monkeypatch.setattr(Site, "client", client)

    return answering


@pytest.mark.parametrize("page", PAGES)
def test_a_proxy_that_answers_me_itself_is_a_fault(page: str, answering: Callable[[Respond], None]) -> None:
    answering(lambda request: PAGES[page])
    site = Site("http://localhost", {})
    [found] = asyncio.run(client_side.credential(site))
    assert (found.level, found.text) == (Level.FAULT, "GET /me is answered 200, not by roomcast")
    assert found.fix == "pass /me on to roomcast"
    asyncio.run(examination._choose_room(site))
    assert site.room == examination.ROOM


@pytest.mark.parametrize("page", PAGES)
def test_a_page_for_me_gives_strangers_no_rights(page: str, answering: Callable[[Respond], None]) -> None:
    answering(lambda request: PAGES[page])
    site = Site("http://localhost:1", {})
    asyncio.run(site.look())
    assert strangers.rights_of_strangers(site).text == "nobody gets in without a credential"
    with pytest.raises(examination.NotReached, match="not by roomcast"):
        asyncio.run(examination._reach(site))


def test_the_rights_that_roomcast_tells_are_shown(answering: Callable[[Respond], None]) -> None:
    answering(lambda request: httpx.Response(200, json={**ME, "expires_in": 60}))
    [found] = asyncio.run(client_side.credential(Site("http://localhost", {})))
    assert (found.level, found.text) == (Level.OK, "key team: read *; publish nothing, for 60 s more")


def test_a_follow_that_a_proxy_refuses_with_a_page_about_roomcast_is_a_fault(
    answering: Callable[[Respond], None],
) -> None:
    answering(lambda request: httpx.Response(401, html="<p>Please log in to roomcast</p>"))
    [found] = asyncio.run(events.check(Site("http://localhost", {}, "a")))
    assert (found.level, found.text) == (Level.FAULT, "a follow is answered 401")


def test_a_gap_that_a_proxy_has_changed_is_not_the_answer_to_our_id(answering: Callable[[Respond], None]) -> None:
    stream = b"id: \xc3\xa9\nevent: gap\ndata: <p>\n\n"
    answering(lambda request: httpx.Response(200, content=stream))
    [found] = asyncio.run(resume.check(Site("http://localhost", {}, "a")))
    assert (found.name, found.level) == ("Last-Event-ID", Level.FAULT)


async def test_a_stream_that_a_proxy_replaced_by_an_endless_line_is_recorded_as_cut(
    answering: Callable[[Respond], None],
) -> None:
    answering(lambda request: httpx.Response(200, content=b"x" * (MAX_BLOCK + 1)))
    recording = await listen(Site("http://localhost", {}, "a"), 5)
    assert (recording.ended, recording.events) == (True, [])


async def test_a_follow_that_is_cancelled_during_its_handshake_closes_its_connection() -> None:
    async with silent() as server:
        await leaves(server, listen(Site(server.url, {}, "a"), PATIENCE))


async def test_an_id_that_is_not_ascii_is_sent_as_utf_8(answering: Callable[[Respond], None]) -> None:
    seen: list[bytes] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.extend(value for name, value in request.headers.raw if name.lower() == b"last-event-id")
        return httpx.Response(200)

    answering(respond)
    await listen(Site("http://localhost", {}, "a"), 5, Last_Event_ID="é")
    assert seen == ["é".encode()]


@pytest.mark.parametrize(
    ("headers", "credential", "sent"),
    [
        ({}, True, "Basic dTpw"),
        ({"authorization": "Bearer t"}, True, "Bearer t"),
        ({}, False, None),
        ({"authorization": "Bearer t"}, False, None),
    ],
)
def test_the_user_and_password_of_the_url_are_sent_if_there_is_no_other_credential(
    headers: dict[str, str], credential: bool, sent: str | None
) -> None:
    with closing(ScriptedServer()) as scripted:
        site = Site(scripted.url.replace("http://", "http://u:p@"), headers)
        asking = aside(asyncio.run, site.get("/me", credential=credential))
        asked = scripted.next()
        asked.answer()
        assert asking.result(PATIENCE).status_code == 200
    assert asked.headers.get("authorization") == sent


@pytest.mark.parametrize("url", ["http://localhost", "http://localhost/live", "http://localhost/live/é"])
def test_strangers_are_tried_below_the_path_of_the_server(url: str, answering: Callable[[Respond], None]) -> None:
    path = httpx.URL(url).raw_path.rstrip(b"/")
    seen: list[bytes] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["target"])
        return httpx.Response(404)

    answering(respond)
    asyncio.run(strangers.check(Site(url, {})))
    assert seen == [path + b"/metrics", path + b"/metric%73", path + b"/rooms?limit=1"]


def test_a_credential_that_the_server_cannot_check_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def get(site: Site, path: str) -> httpx.Response:
        return httpx.Response(503)

    monkeypatch.setattr(Site, "get", get)
    [found] = asyncio.run(client_side.credential(Site("http://localhost", {})))
    assert (found.level, found.text) == (Level.FAULT, "the server cannot check it now: 503")
    assert "[[issuer]]" in found.fix


def test_a_stranger_from_elsewhere_who_looks_local_is_a_fault() -> None:
    site = Site("http://192.0.2.1", {}, stranger={"admin": True, "read": ["*"], "publish": ["*"]})
    assert strangers.rights_of_strangers(site).level is Level.FAULT


def _idle(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> dict[str, Finding]:
    async def listen(site: Site, seconds: float) -> Recording:
        return recording

    monkeypatch.setattr(idle, "listen", listen)
    return {finding.name: finding for finding in asyncio.run(idle.check(Site("http://localhost", {}), 35))}


def test_a_heartbeat_that_never_comes_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _idle(Recording(httpx.Response(200), lasted=35.0), monkeypatch)
    assert found["heartbeat"].level is Level.FAULT
    assert found["idle stream"].level is Level.OK


def test_a_stream_that_is_cut_after_half_a_minute_is_a_fault_with_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recording = Recording(httpx.Response(200), items=[(0.1, Event("live", "{}", "a-1"))], lasted=30.02, ended=True)
    found = _idle(recording, monkeypatch)
    assert (found["idle stream"].level, found["idle stream"].text) == (Level.FAULT, "cut after 30.0 s")


@pytest.mark.parametrize(
    ("headers", "proxy"),
    [
        ({"server": "nginx/1.22.1"}, "nginx"),
        ({"via": "1.1 Caddy"}, "caddy"),
        ({"via": "1.1 host (Varnish/7.1)", "x-varnish": "3"}, "varnish"),
        ({"server": "cloudflare"}, "cloudflare"),
        ({}, ""),
    ],
)
def test_a_proxy_is_recognized_by_its_headers(headers: dict[str, str], proxy: str) -> None:
    assert fixes.named_by(httpx.Headers(headers)) == proxy


@pytest.mark.parametrize("fault", fixes.FAULTS)
def test_each_fault_has_a_line_for_every_proxy_or_one_for_all(fault: str) -> None:
    for proxy in ("", "cloudflare", *fixes.NAMES):
        assert fixes.line(fault, proxy)
