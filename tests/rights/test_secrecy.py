"""Never a byte of a credential: not in a log, an answer, a header, the metrics, or what Python prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from roomcast.auth.guard import Guard, Mode
from roomcast.auth.keys import Keys
from roomcast.auth.rights import ConfiguredRights
from tests.raw import Raw
from tests.rights.serving import (
    ALL,
    FORMATS,
    KEYS,
    NARROW,
    OTHER_SECRETS,
    PAGE,
    SECRET,
    SECRETS,
    SSE,
    bearer,
    configured,
    get,
    publish,
    request,
    ticket,
    two_ways,
)

_UNKNOWN = "rck_all_" + "Z9" * 21 + "Z"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_41_no_log_or_answer_shows_a_byte_of_a_credential(tmp_path: Path, log_format: str) -> None:
    good, ended = ticket("user/42", "public/a"), ticket("user/42", age=4000)
    forged, opened = ticket("user/42", secrets=OTHER_SECRETS), ticket("user/42", age=100)
    credentials = [good, ended, forged, opened, ALL, NARROW, _UNKNOWN]
    said: list[bytes] = []
    rights = (f"--config={configured(tmp_path)}", "--anonymous=read:public/*", "--cookie=session")
    flags = (*rights, f"--log-format={log_format}")
    with two_ways(tmp_path, *flags) as ways:
        for way in ways:
            way.ask(publish([{"room": "user/42", "text": "x"}] * 5, bearer(ALL)))
            for data in (data for credential in credentials for data in _misused(credential)):
                with Raw(way.port, data) as connection:
                    connection.end()
                    answer = connection.answer(to_head=True)
                    body = connection.rest() if "content-length" in answer.headers else b""
                    said += [str(answer.headers).encode(), body]
            said.append(way.ask(get("/metrics", bearer(ALL))).body)
        ways[0].running.terminate()
        lines = ways[0].running.said()
    said.append(lines.encode())
    pieces = [
        credential[start : start + 12] for credential in credentials for start in range(9, len(credential), 5)
    ]
    # A room's or the user's name is in a ticket's content, but not as its letters.
    for text in said:
        found = [piece for piece in pieces if piece.encode() in text and len(piece) == 12]
        assert not found, (found, text)
        assert SECRET.encode() not in text
    assert re.search(r"credential[^a-z]+[0-9a-f]{8}\b", lines), "the audit tells credentials apart"
    assert "refused" in lines
    assert "the ticket has expired" in lines


def _misused(credential: str) -> list[bytes]:
    spelled = credential.replace("_", "%5F")
    targets = [
        f"/messages?room=user/42&{name}={value}"
        for name in ("ticket", "Ticket", "tickets", "%74icket", "token", "access_token", "key", "x", "room")
        for value in (credential, spelled)
    ]
    return [
        *(get(target, accept) for target in targets for accept in FORMATS),
        *(get(f"/messages?room=user/42&limit=2&ticket={credential}", PAGE, bearer(credential)) for _ in "ab"),
        get(f"/messages?room=user/42&ticket={credential}&ticket={credential}", SSE),
        get(f"/messages?room=user/42;ticket={credential}", SSE),
        get(f"/nowhere?ticket={credential}"),
        get(f"/nowhere/{credential}"),
        get(f"/rooms?ticket={credential}"),
        get(f"/?ticket={credential}"),
        get(f"http://localhost/messages?room=user/42&ticket={credential}"),
        get("/messages?room=user/42", f"Authorization: {credential}"),
        get("/messages?room=user/42", bearer(credential), bearer(credential)),
        get("/messages?room=user/42", f"Authorization: Basic {credential}"),
        get("/messages?room=user/42", f"Authorization: Bearer {credential}\x01"),
        get("/messages?room=user/42", f"X-Api-Key: {credential}\x01"),
        get("/messages?room=user/42", f"Authorization : Bearer {credential}"),
        get(f"/messages?room=user/42&ticket={credential}\x7f ", SSE),
        get(f"/messages?room=user/42&ticket={credential} x y", SSE),
        request("HEAD", f"/messages?room=user/42&ticket={credential}"),
        publish({"room": "user/42", "text": "x"}, bearer(credential), target=f"/messages?ticket={credential}"),
        publish({"room": "user/42", "text": 1}, bearer(credential)),
        get("/rooms?limit=1", bearer(credential)),
        get("/me", bearer(credential)),
        get("/me", f"Cookie: session={credential}"),
        get("/me", f"Cookie: session={credential}; session={credential}"),
        get("/messages?room=user/43", f"Cookie: session={credential}", "Sec-Fetch-Site: cross-site"),
    ]


def test_no_repr_has_a_byte_of_a_credential() -> None:
    rights = ConfiguredRights(keys=Keys(KEYS), secrets=SECRETS)
    guard, sent = Guard(Mode.RIGHTS, rights), ticket("user/42", publish=["a"], sub="42")
    for credential in (ALL, sent):
        found = guard.identify(bearer(credential).partition(": ")[2].encode())
        for shown in (rights, guard, SECRETS, SECRETS.signing, found, rights.keys, rights._cache):
            text = f"{shown!r} {shown}"
            assert credential[9:30] not in text
            assert SECRET not in text
