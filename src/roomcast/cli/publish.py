"""`roomcast publish`."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

from roomcast.cli import formatting
from roomcast.cli.batches import PATIENCE, BatchSender, Line, NonStopSender
from roomcast.cli.command import Command, Server, with_server
from roomcast.cli.completing import room_names
from roomcast.cli.lines import InputLine, lines
from roomcast.cli.objects import parsed, raw
from roomcast.cli.progress import Progress
from roomcast.cli.texts import Texts


def _json(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """A tuple with the value; an empty one if none was given, since None is also JSON's null."""
    if value is None:
        return ()
    try:
        return (raw(value),)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"it is not JSON: {error}") from None


@click.command("publish", cls=Command)
@click.argument("room", shell_complete=room_names)
@click.argument("text", required=False)
@with_server
@click.option("--user", metavar="NAME", help="The author.  [default: the credential's user, or anonymous]")
@click.option("--type", metavar="TYPE", help="The event's type, such as order.paid.")
@click.option("--data", metavar="JSON", callback=_json, help="Any JSON value, beside TEXT or instead of it.")
@click.option(
    "--key", metavar="KEY", help="Idempotency key: the same message with the same KEY is stored only once."
)
@click.option(
    "--ndjson", is_flag=True, help="Each line of the input is a JSON object with text, data, type, user or room."
)
def command(
    server: Server,
    room: str,
    text: str | None,
    user: str | None,
    type: str | None,
    data: tuple[Any, ...],
    key: str | None,
    ndjson: bool,
) -> None:
    """Publish a message to a room, or each line of the input.

    Prints the id of a single message. Without TEXT and --data it reads the input. The lines that have come are
    published at once, as one batch: `tail -f log | roomcast publish logs` is prompt, and a long file is fast.
    Empty lines are skipped. Bytes that are not UTF-8 are replaced, and a line that is too long is cut and marked;
    stderr says how many lines were changed.

    A pipe is always read to its end, so that `make | roomcast publish builds` never stops the build. If a message
    could not be stored, stderr says so and the status is 1. In a file, and with --ndjson, publishing stops at the
    first line that is refused, so that you can go on there. With --ndjson a line's own fields override the
    options."""
    given = {"room": room, "user": user, "type": type}
    common = {name: value for name, value in given.items() if value is not None}
    if text is None and not data:
        if key is not None:
            raise click.UsageError("--key is for a single message: give its TEXT as well")
        (_publish_objects if ndjson else _publish_texts)(server, common)
        return
    if ndjson:
        raise click.UsageError("--ndjson reads the standard input: leave out TEXT and --data")
    more = {"data": data[0]} if data else {}
    with server.client() as client:
        click.echo(client.publish(**common, text=text, idempotency_key=key, **more).id)


def _publish_texts(server: Server, common: dict[str, str]) -> None:
    descriptor = _input()
    texts = Texts(common)
    with server.client(PATIENCE) as client, server.client(0) as impatient:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            sender = BatchSender(client, up_to_the_bad_line=True, shorten=texts.shorten)
        else:
            sender = NonStopSender(client, impatient, formatting.say, texts.shorten)
        try:
            sender.send_all(_numbered(descriptor, texts.line), Progress("messages stored", descriptor))
        finally:
            if changed := texts.summary():
                formatting.say(changed)
    if lost := sender.lost:
        raise sender.stopped(f"{lost:,} message{' is' if lost == 1 else 's are'} not stored or not confirmed")
    _say_in_terminal(sender)


def _publish_objects(server: Server, common: dict[str, str]) -> None:
    descriptor = _input()

    def line(number: int, read: InputLine) -> Line:
        return Line.of(number, {**common, **parsed(number, read)})

    with server.client(PATIENCE) as client:
        sender = BatchSender(client, up_to_the_bad_line=True)
        sender.send_all(_numbered(descriptor, line), Progress("messages stored", descriptor))
    _say_in_terminal(sender)


def _input() -> int:
    if sys.stdin is None:
        raise click.UsageError("there is neither TEXT nor standard input: give one of them")
    return sys.stdin.fileno()


def _say_in_terminal(sender: BatchSender) -> None:
    if formatting.in_terminal(err=True):
        formatting.say(sender.summary())


def _numbered(descriptor: int, line: Callable[[int, InputLine], Line]) -> Iterator[Line | None]:
    number = 0
    for read in lines(descriptor):
        if read is None:
            yield None
            continue
        number += 1
        if content := read.content.removesuffix(b"\r"):
            yield line(number, read._replace(content=content, size=read.size - len(read.content) + len(content)))
