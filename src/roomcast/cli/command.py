"""Common parts of the commands: the server's address, the credential, and how they end."""

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
from roomcast.client.errors import bad_tls, without_password
from roomcast.model.errors import RoomcastError, Unauthenticated

DEFAULT_URL = address.EXAMPLE

CLOSED_PIPE = 128 + signal.SIGPIPE
"""The status that shells give to a program whose reader has gone."""


class Command(click.Command):
    """A command that reports an error in one sentence, and ends quietly at Ctrl-C or when its reader has gone."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command in the context `ctx`. An error ends the program with status 1 and one sentence on
        stderr."""
        # For a closed stream (`>&-`) Python has None, and the next connection would get its descriptor.
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            ctx.color = False
        if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without UTF-8 shows other characters as escapes
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _end_without_reader()
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
    """The addition to an error that says what to do if the server does not answer or wants a credential; empty for
    other errors."""
    while error is not None and not isinstance(error, (httpx.ConnectError, Unauthenticated)):
        error = error.__cause__
    if isinstance(error, Unauthenticated):
        return f" (put a key, a ticket or a token into {TOKEN_VARIABLE})"
    if error is None or bad_tls(error):
        return ""
    return f": start the server, or name another one with --url or {URL_VARIABLE}"


def _forget_output() -> None:
    """Discards buffered output, which cannot be written, so that Python reports no error for it at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end_without_reader() -> None:
    """Ends the program after its reader has gone."""
    _forget_output()
    sys.exit(CLOSED_PIPE)


def checked_url(ctx: click.Context, param: click.Parameter, url: str) -> str:
    """A callback of click for an option or argument: `ctx` and `param` are click's. Returns the `url`. Raises
    `click.BadParameter` if it cannot be a server's, or if SSL_CERT_FILE names no file."""
    try:
        address.server(url)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not url.isascii():
        raise click.BadParameter(
            f"{without_password(url)!r} is not the address of a server: write it as {DEFAULT_URL}"
        )
    trusted = os.environ.get("SSL_CERT_FILE")
    if trusted and not os.path.isfile(trusted):
        raise click.BadParameter(
            "there is no such file: correct or unset it", param_hint=f"SSL_CERT_FILE={trusted}"
        )
    return url


_url_option = click.option(
    "--url",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    envvar=URL_VARIABLE,
    callback=checked_url,
    help="The server's address.",
)


class Server(NamedTuple):
    """The server that a command talks to, and the header fields of each request."""

    url: str
    headers: dict[str, str]

    def client(self, patience: float = 5.0) -> Client:
        """A client that waits `patience` seconds for a server that does not answer: by default long enough for a
        restart, and not too long for a person at a terminal."""
        return Client(self.url, headers=self.headers, patience=patience)


def with_server(function: Callable[..., None]) -> Callable[..., None]:
    """Decorates a command's `function`: adds the options `--url` and `--header`, and passes it the `Server` that
    they name as its first argument."""

    @functools.wraps(function)
    def wrapped(url: str, headers: dict[str, str], **options: Any) -> None:
        function(Server(url, headers), **options)

    return _url_option(headers.option(wrapped))
