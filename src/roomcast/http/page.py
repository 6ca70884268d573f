"""The page's files: read once, and served from memory; scripts without their comments."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from importlib import resources
from typing import NamedTuple

from roomcast.api.answer import Answer, HeaderFields
from roomcast.api.request import Head, Request
from roomcast.delivery.engine import Engine
from roomcast.model.errors import NotFound

_TYPES = {
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "svg": b"image/svg+xml",
}
_MODULE = "roomcast.js"
_HEADERS = (
    (b"cache-control", b"no-cache"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        b"require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-opener-policy", b"same-origin"),
    # Pages that isolate themselves (COEP) may load the module, too.
    (b"cross-origin-resource-policy", b"cross-origin"),
)


class File(NamedTuple):
    """A file of the page, as it is served."""

    content: bytes
    etag: bytes
    fields: HeaderFields
    unchanged: HeaderFields
    """The header fields of `304 Not Modified`."""


def index(head: Head) -> File:
    """The page itself, whatever `head` is."""
    return _FILES["index.html"]


def module(head: Head) -> File:
    """The module with which any page follows and publishes, whatever `head` is. It finds the server by its own
    URL."""
    return _FILES[_MODULE]


def module_bytes() -> bytes:
    """The module as it is served: the npm package holds the same bytes."""
    return _FILES[_MODULE].content


def asset(head: Head) -> File:
    """The file of the page that the path of `head` names. Raises `NotFound`."""
    name = head.path.rpartition("/")[2]
    if name not in names():
        raise NotFound(f"the page has no file {name[:100]!r}")
    return _FILES[name]


def serve(engine: Engine, request: Request, file: File) -> Answer:
    """Answers with `file`, or with 304 if `request` says that the client has it already. `engine` is not used."""
    if file.etag in re.split(rb"(?:W/|[\s,])+", request.values.get(b"if-none-match", b"")):
        return Answer(304, file.unchanged)
    return Answer(200, file.fields, file.content)


def names() -> Iterable[str]:
    """The names of the files below `/page/`."""
    return _FILES.keys() - {_MODULE}


def _read() -> dict[str, File]:
    folder = resources.files("roomcast").joinpath("page")
    return {
        file.name: _file(file.name, _bare(file.name, file.read_bytes()))
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in _TYPES
    }


def _file(name: str, content: bytes) -> File:
    etag = b'"%b"' % hashlib.sha256(content).hexdigest()[:20].encode()
    shared = (*_HEADERS, (b"etag", etag))
    media_type = (b"content-type", _TYPES[name.rpartition(".")[2]])
    return File(content, etag, HeaderFields(media_type, *shared), HeaderFields(*shared))


def _bare(name: str, content: bytes) -> bytes:
    """A script without its comments and indentation, which are half of its bytes. So strings in scripts must not
    span lines, nor have two slashes after a semicolon or a brace."""
    if not name.endswith(".js"):
        return content
    return re.sub(rb"\s*\n\s*", b"\n", re.sub(_COMMENT, b"", content)).lstrip()


_COMMENT = re.compile(
    rb"^[ \t]*(?:/\*\*.*?\*/|//[^\n]*)$"  # comments on lines of their own
    rb"|/\*\* @type [^\n]*?\*/ ?|(?<=[;{]) // [^\n]*$",  # a type cast within a line, a comment at its end
    re.MULTILINE | re.DOTALL,
)
_FILES = _read()
"""By name; read at import, since the event loop must not wait for a disk."""
