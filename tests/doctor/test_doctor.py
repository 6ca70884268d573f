"""`roomcast doctor` as a program, and its findings without a proxy."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from roomcast.client.decode import Event
from roomcast.doctor import client_side, fixes, idle, strangers
from roomcast.doctor.finding import Finding, Level
from roomcast.doctor.listening import Recording
from roomcast.doctor.site import Site
from tests.certificate import Certificate
from tests.cli.shell import run
from tests.doctor.test_behind_proxies import examined, faults
from tests.proxies import nginx
from tests.running import Running, free_port, start_roomcast

RIGHTS = """
[[key]]
name = "team"
sha256 = "%s"
read = ["team/*"]
"""
KEY = "rck_team_" + "x" * 43


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
