"""`roomcast import`, in a file whose name Python can import."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

import click

from roomcast.cli import formatting
from roomcast.cli.batches import PATIENCE, BatchSender, Line
from roomcast.cli.command import Command, Server, with_server
from roomcast.cli.lines import lines
from roomcast.cli.objects import parsed
from roomcast.cli.progress import Progress
from roomcast.client.request import encoded

_SET_BY_SERVER = ("id", "timestamp")


@click.command("import", cls=Command)
@click.argument("file", type=click.File("rb"))
@with_server
def command(server: Server, file: BinaryIO) -> None:
    """Publish the messages of a file that `export` wrote.

    Each message keeps its room, user, text, type and data, and gets a new id and a new time. After an interruption
    run it again with the same file: nothing is stored twice, as long as the first messages are retained. At the
    end stderr says how many messages were stored now and how many before. `-` is the standard input."""
    with server.client(PATIENCE) as client:
        sender = BatchSender(client, key=_key)
        sender.send_all(_messages(file.fileno()), Progress("messages stored", file.fileno()))
    formatting.say(sender.summary())


def _key(batch: list[Line]) -> str:
    """Made from the batch's place and content: the same file gives the same keys in the next run, and two
    equal parts of a file give different ones."""
    content = b"\n".join([b"%d %b" % (line.number, encoded(line.message)) for line in batch])
    return f"import-{hashlib.sha256(content).hexdigest()}"


def _messages(descriptor: int) -> Iterator[Line]:
    """Waits for lines that are not there yet: the batches must be the same in the next run."""
    present = (line for line in lines(descriptor) if line is not None)
    for number, line in enumerate(present, 1):
        if line.content.strip():
            fields = parsed(number, line)
            yield Line.of(number, {name: value for name, value in fields.items() if name not in _SET_BY_SERVER})
