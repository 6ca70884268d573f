"""The page's files as they are served."""

from __future__ import annotations

import pytest

from roomcast.http.context import Context
from roomcast.http.page import module_bytes
from tests.http.clients import answered

MODULE = b"GET /roomcast.js HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_the_module_of_the_npm_package_is_the_one_that_is_served(context: Context) -> None:
    head, _, body = (await answered(context, MODULE)).written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == module_bytes()


@pytest.mark.parametrize("tags", [b"%b", b"W/%b", b'"other", %b', b'"other",W/%b'])
async def test_a_file_that_the_client_has_is_not_sent_again(context: Context, tags: bytes) -> None:
    head = (await answered(context, MODULE)).written.partition(b"\r\n\r\n")[0]
    [etag] = [line.partition(b" ")[2] for line in head.split(b"\r\n") if line.startswith(b"etag:")]
    conditional = MODULE.replace(b"\r\n\r\n", b"\r\nIf-None-Match: " + tags % etag + b"\r\n\r\n")
    assert (await answered(context, conditional)).written.startswith(b"HTTP/1.1 304 ")
