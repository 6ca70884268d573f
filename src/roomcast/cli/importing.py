"""`roomcast import`, in a file whose name Python can import."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

import click

from roomcast.cli import formatting
from roomcast.cli.batches import PATIENCE, Line, Sender
from roomcast.cli.command import Command, Server, to_server
from roomcast.cli.lines import lines
from roomcast.cli.objects import parsed
from roomcast.cli.progress import Progress
from roomcast.client.request import encoded

_THE_SERVERS = ("id", "timestamp")


@click.command("import", cls=Command)
@click.argument("file", type=click.File("rb"))
@to_server
def command(server: Server, file: BinaryIO) -> None:
    """Publish the messages of a file that `export` wrote.

    Each with its room, user, text, type and data; its id and its time are new ones. After an interruption run it
    again with the same file: what is stored already is not stored twice, as long as the first messages are
    retained. Says at the end, on stderr, how many it stored and how many were stored before. `-` is the standard
    input."""
    with server.client(PATIENCE) as client:
        sender = Sender(client, key=_key)
        sender.send_all(_messages(file.fileno()), Progress("messages stored", file.fileno()))
    formatting.say(sender.said())


def _key(batch: list[Line]) -> str:
    """Of where the batch stands and what is in it: the same file gives the same keys another time, and two equal
    stretches of a file different ones."""
    content = b"\n".join([b"%d %b" % (line.number, encoded(line.message)) for line in batch])
    return f"import-{hashlib.sha256(content).hexdigest()}"


def _messages(descriptor: int) -> Iterator[Line]:
    """Never fewer at once because more is not there yet: the batches must be the same another time."""
    present = (line for line in lines(descriptor) if line is not None)
    for number, line in enumerate(present, 1):
        if line.content.strip():
            fields = parsed(number, line)
            yield Line.of(number, {name: value for name, value in fields.items() if name not in _THE_SERVERS})
