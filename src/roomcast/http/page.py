"""The page, as its files are but for the comments: read once, served from memory, from nowhere but here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from roomcast.delivery.engine import Engine
from roomcast.model.errors import NotFound

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
_MODULE = "roomcast.js"
_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    # Pages that isolate themselves (COEP) may load the module, too.
    "cross-origin-resource-policy": "cross-origin",
}


async def index(engine: Engine, request: Request) -> Response:
    """The page itself."""
    return _answer(request, "index.html")


async def module(engine: Engine, request: Request) -> Response:
    """What follows and publishes, for any page anywhere: a module takes its own address for the server's."""
    return _answer(request, _MODULE)


async def asset(engine: Engine, request: Request) -> Response:
    """One of its files."""
    name: str = request.path_params["name"]
    if name not in names():
        raise NotFound(f"the page has no file {name[:100]!r}")
    return _answer(request, name)


def names() -> Iterable[str]:
    """The names of the files below `/page/`."""
    return _FILES.keys() - {_MODULE}


def _answer(request: Request, name: str) -> Response:
    content, etag = _FILES[name]
    headers = {**_HEADERS, "etag": etag}
    if etag in re.split(r"(?:W/|[\s,])+", request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)


def _read() -> dict[str, tuple[bytes, str]]:
    folder = resources.files("roomcast").joinpath("page")
    named = {
        file.name: _bare(file.name, file.read_bytes())
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in _TYPES
    }
    return {name: (content, f'"{hashlib.sha256(content).hexdigest()[:20]}"') for name, content in named.items()}


def _bare(name: str, content: bytes) -> bytes:
    """A script without its comments and indentation, which are half of its bytes. So no text in one may go over
    several lines, or have two slashes after a semicolon."""
    if not name.endswith(".js"):
        return content
    return re.sub(rb"\s*\n\s*", b"\n", re.sub(_COMMENT, b"", content)).lstrip()


_COMMENT = re.compile(
    rb"^[ \t]*(?:/\*\*.*?\*/|//[^\n]*)$"  # lines of their own
    rb"|/\*\* @type [^\n]*?\*/ ?|(?<=[;{]) // [^\n]*$",  # a cast within a line, a word at its end
    re.MULTILINE | re.DOTALL,
)
_FILES = _read()
"""Each file's content and ETag; read with this module, since the event loop must not wait for a disk."""
