"""The three modes, and which pages, host names and proxies they serve."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.rights.serving import ALL, FORMATS, PAGE, SSE, Way, bearer, configured, get, publish, request, ticket

OWN, EVIL = "https://app.example", "https://evil.example"
MESSAGE = {"room": "a", "text": "x"}

LOCAL: tuple[tuple[str, dict[str, Any], tuple[str, ...], int], ...] = (
    ("nothing said", {}, (), 200),
    ("49 a page of elsewhere", {}, (f"Origin: {EVIL}",), 403),
    ("49 a page of nowhere", {}, ("Origin: null",), 403),
    ("an empty origin", {}, ("Origin:",), 403),
    ("two origins", {}, ("Origin: http://localhost", f"Origin: {EVIL}"), 403),
    ("a page of this machine", {}, ("Origin: http://localhost:5173",), 200),
    ("one over TLS", {}, ("Origin: https://127.0.0.1:8443",), 200),
    ("one of IPv6", {}, ("Origin: http://[::1]:5173",), 200),
    ("one whose name ends so", {}, ("Origin: http://localhost.evil.example",), 403),
    ("one with a user", {}, ("Origin: http://localhost@evil.example",), 403),
    ("one of a file", {}, ("Origin: file://",), 403),
    ("49 another host", {"host": "evil.example"}, (), 403),
    ("49 another host that a page asked", {"host": "evil.example"}, ("Origin: http://evil.example",), 403),
    ("another host with a port", {"host": "evil.example:8080"}, (), 403),
    ("another host that ends so", {"host": "localhost.evil.example"}, (), 403),
    ("another host before it", {"host": "evil.example/.localhost"}, (), 403),
    ("a user before it", {"host": "evil.example@x.localhost"}, (), 403),
    ("localhost with a port", {"host": "localhost:8080"}, (), 200),
    ("localhost with a dot", {"host": "LocalHost.:8080"}, (), 200),
    ("a name below it", {"host": "app.localhost"}, (), 200),
    ("its number", {"host": "127.0.0.1"}, (), 200),
    ("another number of it", {"host": "127.9.8.7:80"}, (), 200),
    ("its number of IPv6", {"host": "[::1]:80"}, (), 200),
    ("its number with few dots", {"host": "127.1"}, (), 403),
    ("its number as one", {"host": "2130706433"}, (), 403),
    ("its number in hex", {"host": "0x7f.0.0.1"}, (), 403),
    ("no address at all", {"host": "0.0.0.0"}, (), 403),
    ("a neighbour", {"host": "192.168.1.7"}, (), 403),
    ("no host in HTTP/1.0", {"host": "", "version": "1.0"}, (), 200),
    ("49 for another machine", {}, ("X-Forwarded-For: 203.0.113.9",), 403),
    ("49 for this one", {}, ("X-Forwarded-For: 127.0.0.1",), 200),
    ("for this one with a port", {}, ("X-Forwarded-For: 127.0.0.1:4711",), 200),
    ("for another by this one", {}, ("X-Forwarded-For: 203.0.113.9, 127.0.0.1",), 403),
    ("for this one by another", {}, ("X-Forwarded-For: 127.0.0.1, 203.0.113.9",), 403),
    ("for two in two fields", {}, ("X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: 203.0.113.9"), 403),
    ("for two in two fields, turned", {}, ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 127.0.0.1"), 403),
    ("for a name", {}, ("X-Forwarded-For: unknown",), 403),
    ("for a neighbour", {}, ("X-Real-IP: 192.168.1.7",), 403),
    ("really for this one", {}, ("X-Real-IP: ::1",), 200),
    ("for another, as RFC 7239 has it", {}, ("Forwarded: for=203.0.113.9;proto=https",), 403),
    ("for another of IPv6", {}, ('Forwarded: for="[2001:db8::1]:4711"',), 403),
    ("for this one, as RFC 7239 has it", {}, ("Forwarded: For=127.0.0.1",), 200),
    ("for both", {}, ("Forwarded: for=127.0.0.1, for=203.0.113.9",), 403),
    ("for one that hides", {}, ("Forwarded: for=_hidden",), 403),
    ("for one in open quotes", {}, ('Forwarded: for="127.0.0.1, for=203.0.113.9',), 403),
    ("with somebody else's credential", {}, ("Authorization: Basic eDp5",), 200),
    ("with one that cannot be read", {}, ("Authorization: x, y",), 200),
)


@pytest.mark.parametrize(("what", "more", "fields", "status"), LOCAL, ids=[row[0] for row in LOCAL])
@pytest.mark.parametrize("form", ["sse", "page", "post", "form", "head"])
def test_without_configuration_only_this_machine_is_served(
    local: Way, what: str, more: dict[str, Any], fields: tuple[str, ...], status: int, form: str
) -> None:
    match form:
        case "sse":
            data = get("/messages?room=a", SSE, *fields, **more)
        case "page":
            data = get("/messages?room=a&token=x&ticket=x", PAGE, *fields, **more)
        case "head":
            data = request("HEAD", "/messages?room=a", *fields, **more)
        case _:
            data = request("POST", "/rooms/a", "Content-Type: text/plain", *fields, body=b"x", **more)
            status = 201 if status == 200 else status
    answer = local.ask(data)
    assert answer.status == status, answer.body
    origin = next((field.partition(": ")[2] for field in fields if field.startswith("Origin")), "")
    assert ("access-control-allow-origin" in answer.headers) == (status != 403 and bool(origin))
    assert "access-control-allow-credentials" not in answer.headers
    assert "origin" in answer.headers["vary"].lower()
    if status == 403 and form != "head":
        assert answer.json["type"] == "urn:problem-type:roomcast:not-served"
        assert ("--open" in answer.json["detail"]) or ("--allow-origin" in answer.json["detail"])


def test_a_host_in_the_request_line_is_checked_too(local: Way) -> None:
    for scheme in ("http", "HTTP"):
        assert local.ask(get(f"{scheme}://evil.example/me")).status in (403, 404)
    assert local.ask(get("http://evil.example/me")).status == 403
    assert local.ask(get("http://localhost:80/me")).status == 200
    assert local.ask(get("http://localhost@evil.example/me")).status == 403


@pytest.mark.parametrize("target", ["/healthz", "/readyz"])
def test_health_probes_reach_a_local_server_under_any_name(local: Way, target: str) -> None:
    assert local.ask(get(target, "X-Forwarded-For: 203.0.113.9", host="10.0.0.7")).status == 200


def test_in_local_mode_everybody_may_do_everything(local: Way) -> None:
    told = local.ask(get("/me", bearer(ALL))).json
    assert (told["kind"], told["user"], told["read"], told["publish"]) == ("anonymous", None, ["*"], ["*"])
    assert (told["metrics"], told["admin"], told["expires_in"]) == (True, True, None)
    assert local.ask(publish(MESSAGE | {"user": "admin"})).json["user"] == "admin"
    assert local.ask(get("/metrics")).status == 200
    assert local.ask(publish(MESSAGE, target="/tickets")).status == 501


def test_in_open_mode_everybody_may_do_everything_but_delete(opened: Way) -> None:
    told = opened.ask(get("/me", bearer(ALL), host="evil.example")).json
    assert (told["kind"], told["user"], told["read"], told["publish"]) == ("anonymous", None, ["*"], ["*"])
    assert (told["metrics"], told["admin"]) == (True, False)
    fields = ("X-Forwarded-For: 203.0.113.9", f"Origin: {EVIL}", "Authorization: x, y")
    answer = opened.ask(publish(MESSAGE | {"user": "admin"}, *fields))
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (201, "*")
    assert opened.ask(get("/messages?room=a&token=x&ticket=x", PAGE)).status == 200


@pytest.mark.parametrize("accept", FORMATS)
def test_with_rights_other_origins_are_refused_before_anything_else(way: Way, accept: str) -> None:
    for origin in (
        EVIL,
        "null",
        "http://localhost:3000",
        OWN.replace("https", "http"),
        f"{OWN}:8443",
        OWN.upper(),
    ):
        answer = way.ask(get("/messages?room=public/a", accept, bearer(ALL), f"Origin: {origin}"))
        assert answer.status == 403, origin
        assert "access-control-allow-origin" not in answer.headers
        assert way.ask(publish(MESSAGE, bearer(ALL), f"Origin: {origin}")).status == 403
    for own in ("http://localhost", "https://localhost"):  # this server's own page, also behind TLS
        assert way.ask(get("/messages?room=public/a", accept, f"Origin: {own}")).status == 200


REFUSED = (
    ("/messages?room=user/42", (), 401),
    ("/messages?room=user/42", (bearer("x"),), 401),
    ("/messages?room=user/42", ("Authorization: x",), 400),
    ("/messages?room=user/43", (bearer(ticket("user/42")),), 403),
    ("/messages?room=public/a&token=x", (), 422),
    ("/messages", (), 422),
    ("/metrics", (), 401),
    ("/nowhere", (), 404),
    ("/tickets", (), 405),
)


@pytest.mark.parametrize(("target", "fields", "status"), REFUSED)
def test_a_named_origin_may_read_each_refusal(way: Way, target: str, fields: tuple[str, ...], status: int) -> None:
    answer = way.ask(get(target, f"Origin: {OWN}", *fields))
    assert answer.status == status
    assert answer.headers["access-control-allow-origin"] == OWN
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]


def _serve(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "roomcast", "serve", "--port=0", "--page-port=0", "--log=memory:", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "unix:there"])
def test_48_a_server_that_others_can_reach_needs_rights_or_open(tmp_path: Path, host: str) -> None:
    ended = _serve(tmp_path, f"--host={host}")
    assert ended.returncode == 1
    assert "nobody has said who may read and publish" in ended.stderr
    assert all(way_out in ended.stderr for way_out in ("--config", "--secret-file", "--open"))
    assert "Traceback" not in ended.stderr


SECRETS = (
    ("31 bytes", b"x1" * 15 + b"y", "at least 32"),
    ("a well-known one", b"!ChangeMe!", "everybody knows"),
    ("Mercure's", b"!ChangeThisMercureHubJWTSecretKey!\r\n", "everybody knows"),
    ("a PEM", b"-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n" * 3, "PEM"),
    ("a text repeated", b"abc" * 20, "repeated"),
    ("nothing", b"", "at least 32"),
)


@pytest.mark.parametrize(("what", "content", "said"), SECRETS, ids=[row[0] for row in SECRETS])
def test_21_a_secret_that_can_be_guessed_is_refused(tmp_path: Path, what: str, content: bytes, said: str) -> None:
    (tmp_path / "s").write_bytes(content)
    ended = _serve(tmp_path, "--secret-file=s")
    assert ended.returncode == 1
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not content.strip() or content.decode().strip() not in ended.stderr


def test_21_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    ended = _serve(tmp_path, "--secret-file=gone")
    assert (ended.returncode, "gone" in ended.stderr) == (1, True)


def test_a_key_given_instead_of_its_hash_is_not_shown(tmp_path: Path) -> None:
    file = configured(tmp_path)
    file.write_text(f'[[key]]\nname = "x"\nsha256 = "{ALL}"\nread = ["*"]\n')
    ended = _serve(tmp_path, f"--config={file}")
    assert ended.returncode == 2
    assert ALL[-20:] not in ended.stderr + ended.stdout
