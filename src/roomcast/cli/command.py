"""What the commands have in common: where the server is, and how they end."""

from __future__ import annotations

import functools
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import click
import httpx

from roomcast.cli import URL_VARIABLE, headers
from roomcast.cli.formatting import say
from roomcast.cli.headers import TOKEN_VARIABLE
from roomcast.client import Client, address
from roomcast.client.errors import bad_tls, shown
from roomcast.model.errors import RoomcastError, Unauthenticated

DEFAULT_URL = address.EXAMPLE

CLOSED_PIPE = 128 + signal.SIGPIPE
"""The status of a program that is ended by its reader's going, as shells give it."""


class Command(click.Command):
    """A command that says what is wrong in one sentence, and ends quietly where its user ends it."""

    def invoke(self, ctx: click.Context) -> Any:
        # Of what was closed (`>&-`) Python has None, and the next connection would have its number.
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            ctx.color = False
        if isinstance(
            sys.stdout, io.TextIOWrapper
        ):  # a terminal that has no UTF-8 shows what it has not as escapes
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            nobody_reads()
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        except RoomcastError as error:
            say(error.detail + advice(error))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            say(str(error) or type(error).__name__)
        except OSError as error:
            say(str(error) or type(error).__name__)
            _forget_output()
        sys.exit(1)


def advice(error: BaseException | None) -> str:
    """What to do about a server that does not answer, or lets nobody in without a credential; empty where
    something else is wrong."""
    while error is not None and not isinstance(error, (httpx.ConnectError, Unauthenticated)):
        error = error.__cause__
    if isinstance(error, Unauthenticated):
        return f" ({TOKEN_VARIABLE} holds the key, ticket or token that is sent)"
    if error is None or bad_tls(error):
        return ""
    return f": is a server running there? Another is named with --url, or {URL_VARIABLE}"


def _forget_output() -> None:
    """What is still buffered goes nowhere, and so raises nothing at the end: it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def nobody_reads() -> None:
    """Ends the program, whose reader is gone."""
    _forget_output()
    sys.exit(CLOSED_PIPE)


def checked_url(ctx: click.Context, param: click.Parameter, url: str) -> str:
    """Raises `click.BadParameter` where it cannot be a server's."""
    try:
        address.server(url)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not url.isascii():
        raise click.BadParameter(f"{shown(url)!r} is no server's: write it as {DEFAULT_URL}")
    trusted = os.environ.get("SSL_CERT_FILE")
    if trusted and not os.path.isfile(trusted):
        raise click.BadParameter("there is no such file", param_hint=f"SSL_CERT_FILE={trusted}")
    return url


_url_option = click.option(
    "--url",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    envvar=URL_VARIABLE,
    callback=checked_url,
    help="Where the server is.",
)


class Server(NamedTuple):
    """Where a command's server is."""

    url: str
    headers: dict[str, str]

    def client(self, patience: float = 5.0) -> Client:
        """`patience`: how many seconds a server that does not answer is waited for. By default long enough for a
        restart, and not too long for who sits before it."""
        return Client(self.url, headers=self.headers, patience=patience)


def to_server(function: Callable[..., None]) -> Callable[..., None]:
    """Declares `--url` and `--header`, and gives the function the `Server` that they name."""

    @functools.wraps(function)
    def with_server(url: str, headers: dict[str, str], **options: Any) -> None:
        function(Server(url, headers), **options)

    return _url_option(headers.option(with_server))
