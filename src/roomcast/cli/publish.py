"""`roomcast publish`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

from roomcast.cli import formatting
from roomcast.cli.batches import PATIENCE, Line, Sender, parsed, said
from roomcast.cli.command import Command, Server, to_server
from roomcast.cli.completing import room_names
from roomcast.cli.lines import BadLine, lines
from roomcast.cli.progress import Progress


def _json(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """A tuple of what it says: None would be both no data and JSON's null."""
    if value is None:
        return ()
    try:
        return (json.loads(value),)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"this is not JSON: {error}") from None


@click.command("publish", cls=Command)
@click.argument("room", shell_complete=room_names)
@click.argument("text", required=False)
@to_server
@click.option("--user", metavar="NAME", help="Who says it; anonymous by default.")
@click.option("--type", metavar="TYPE", help="The event's type, such as order.paid.")
@click.option("--data", metavar="JSON", callback=_json, help="Any JSON value, with the text or instead of it.")
@click.option("--key", metavar="KEY", help="Idempotency key: the same message with the same key is stored once.")
@click.option("--ndjson", is_flag=True, help="The input's lines are JSON objects: text, data, type, user, room.")
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

    Prints the id of a single message. Lines go in batches, each as large as what is there: `tail -f log | roomcast
    publish logs` is prompt, and a long file is quick. Empty lines are left out. Where a line is refused, those
    before it are stored, and those after it are not. With --ndjson a line's fields go before the options."""
    given = {"room": room, "user": user, "type": type}
    common = {name: value for name, value in given.items() if value is not None}
    if text is None and not data:
        if key is not None:
            raise click.UsageError("--key is for a single message: give its TEXT")
        _publish_lines(server, _objects(common) if ndjson else _texts(common))
        return
    if ndjson:
        raise click.UsageError("--ndjson reads the standard input: leave TEXT and --data out")
    more = {"data": data[0]} if data else {}
    with server.client() as client:
        click.echo(client.publish(**common, text=text, idempotency_key=key, **more).id)


def _texts(common: dict[str, Any]) -> Callable[[int, bytes], dict[str, Any]]:
    def read(number: int, line: bytes) -> dict[str, Any]:
        try:
            return {**common, "text": line.decode()}
        except UnicodeDecodeError as error:
            raise BadLine(f"line {number} is not UTF-8: {error.reason} at byte {error.start + 1}") from None

    return read


def _objects(common: dict[str, Any]) -> Callable[[int, bytes], dict[str, Any]]:
    return lambda number, line: {**common, **parsed(number, line)}


def _publish_lines(server: Server, read: Callable[[int, bytes], dict[str, Any]]) -> None:
    if sys.stdin is None:
        raise click.UsageError("there is no TEXT, and no standard input")
    descriptor = sys.stdin.fileno()
    with server.client(PATIENCE) as client:
        sender = Sender(client, up_to_the_bad_line=True)
        sender.send_all(_numbered(descriptor, read), Progress("messages stored", descriptor))
    if formatting.in_terminal(err=True):
        formatting.say(said(sender.stored))


def _numbered(descriptor: int, read: Callable[[int, bytes], dict[str, Any]]) -> Iterator[Line | None]:
    number = 0
    for line in lines(descriptor):
        if line is None:
            yield None
            continue
        number += 1
        if line := line.removesuffix(b"\r"):
            yield Line.of(number, read(number, line))
