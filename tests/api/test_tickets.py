"""The body of a request for a ticket."""

from __future__ import annotations

import msgspec
import pytest

from roomcast.auth.guard import Guard, Mode
from roomcast.auth.keys import Keys, sha256
from roomcast.auth.rights import ConfiguredRights
from roomcast.auth.secrets import Secret, Secrets
from roomcast.delivery.engine import Engine
from roomcast.http.context import Context
from roomcast.http.handler import Handler
from roomcast.model.settings.key import Key
from tests.http.clients import answered

KEY = "rck_some_" + "k" * 43


@pytest.mark.parametrize(("seconds", "status"), [("60", 201), ("60.0", 201), ("60.5", 422), ("true", 422)])
async def test_seconds_are_a_whole_number_however_the_encoder_writes_it(
    engine: Engine, seconds: str, status: int
) -> None:
    keys = Keys([Key(name="some", sha256=sha256(KEY), read=("*",))])
    rights = ConfiguredRights(keys=keys, secrets=Secrets([Secret(b"0123456789abcdef0123456789abcdefghijklmnop")]))
    context = Context(Handler(engine, Guard(Mode.RIGHTS, rights)), engine)
    body = f'{{"rooms": ["a"], "seconds": {seconds}}}'.encode()
    fields = f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    head = f"POST /tickets HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n"
    answer = (await answered(context, head.encode() + body)).written
    assert int(answer[9:12]) == status
    if status == 201:
        assert msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])["ends_in"] == 60
