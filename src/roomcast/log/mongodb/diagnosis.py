"""Finds out why the driver found no server, if the cause is a mistake in the set-up that waiting does not fix.

The driver's own error only says that it found no server in time. Its topology has each server's error. If only
one side uses TLS, the connection is just closed, so such servers are probed once more.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError, ProtocolError, PyMongoError
from pymongo.server_description import ServerDescription
from pymongo.server_type import SERVER_TYPE
from pymongo.topology_description import TopologyDescription

from roomcast.log.mongodb.errors import error_text
from roomcast.model.errors import LogUnusable

_PROBE_SECONDS = 1.0
_TLS_TRANSIENT = ("EOF", "timed out")
"""The errors of a handshake that was cut, for example by a server that just stops."""
_SPEAKS_TLS = (
    "{name} speaks TLS only: add tls=true to the connection string, and tlsCAFile=FILE if the certificate is from "
    "an authority of your own."
)
_NO_TLS = "{name} does not speak TLS: leave tls=true out of the connection string, or set up TLS on the server."
_NOT_TRUSTED = (
    "The certificate of {name} is not trusted ({error}): name its authority with tlsCAFile=FILE, and the server "
    "by a name that its certificate has."
)
_NO_HANDSHAKE = (
    "{name} and roomcast do not agree on TLS ({error}): correct tlsCAFile and tlsCertificateKeyFile in the "
    "connection string."
)
_WANTS_CERTIFICATE = (
    "{name} requires a certificate that it knows: name one with tlsCertificateKeyFile=FILE in the connection "
    "string."
)
_NO_MONGODB = "The server at {name} is not MongoDB ({error}): correct the host and the port."
_WRONG_SET = (
    "{name} names no member of a set called {set}: correct replicaSet in the connection string, and leave it out "
    "for a single server."
)


def from_topology(name: str, topology: TopologyDescription) -> LogUnusable | None:
    """The mistake that shows in `topology`, the driver's view of the servers; None if waiting may help.

    `name`: the log's name without credentials, for the error.
    """
    # The driver removes servers that are not members of the set. A set without a primary keeps its members.
    if not topology.server_descriptions() and topology.replica_set_name:
        return LogUnusable(_WRONG_SET.format(name=name, set=topology.replica_set_name))
    if topology.known_servers:
        return None
    refusals = (_from_server(name, server) for server in topology.server_descriptions().values())
    return next((refusal for refusal in refusals if refusal), None)


def _from_server(name: str, server: ServerDescription) -> LogUnusable | None:
    error = server.error
    if not isinstance(error, PyMongoError):
        return None
    text = error_text(error)
    if isinstance(error, ProtocolError):
        return LogUnusable(_NO_MONGODB.format(name=name, error=text))
    if isinstance(error, ConfigurationError):
        return LogUnusable(f"{name} cannot be used as it is written ({text}): correct its options.")
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return LogUnusable(_NOT_TRUSTED.format(name=name, error=text))
    if "[SSL: " in text and not any(word in text for word in _TLS_TRANSIENT):
        return LogUnusable(_NO_HANDSHAKE.format(name=name, error=text))
    return None


async def from_probe(name: str, topology: TopologyDescription, *, tls: bool) -> LogUnusable | None:
    """Connects once more to each server of `topology`: with TLS, and if `tls`, first without it. Returns the
    mistake that shows; None if none does, or if the driver can talk to a server. Takes a few seconds at most.

    `name`: the log's name without credentials, for the error. `tls`: whether the connection string asks for TLS.
    """
    if topology.known_servers:
        return None
    addresses = _addresses(topology.server_descriptions().values())
    probes: tuple[tuple[str, Callable[[str, int], Awaitable[bool]]], ...] = (
        ((_NO_TLS, _answers_plain), (_WANTS_CERTIFICATE, _wants_certificate))
        if tls
        else ((_SPEAKS_TLS, _answers_tls),)
    )
    for sentence, probe in probes:
        if any(await asyncio.gather(*(probe(host, port) for host, port in addresses))):
            return LogUnusable(sentence.format(name=name))
    return None


def _addresses(servers: Iterable[ServerDescription]) -> list[tuple[str, int]]:
    """The addresses that can be probed. A socket file and an unresolved name have no port."""
    found = (server.address for server in servers if server.server_type == SERVER_TYPE.Unknown)
    return [(host, port) for host, port in found if port is not None]


async def _answers_tls(host: str, port: int) -> bool:
    try:
        async with _tls_connection(host, port):
            return True
    except (OSError, TimeoutError):
        return False


async def _wants_certificate(host: str, port: int) -> bool:
    """Whether the server rejects clients without a certificate. With TLS 1.3 its error arrives only after the
    client's handshake. By then the driver may have written, which loses the error."""
    try:
        async with _tls_connection(host, port) as reader:
            await reader.read(1)
    except ssl.SSLError as error:
        return "CERTIFICATE_REQUIRED" in (error.reason or "")
    except (OSError, TimeoutError):
        pass
    return False


@asynccontextmanager
async def _tls_connection(host: str, port: int) -> AsyncIterator[asyncio.StreamReader]:
    """A TLS connection to any server, which is not verified. Raises `OSError`, and `TimeoutError` after two
    seconds."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent to it
    async with asyncio.timeout(2 * _PROBE_SECONDS):
        # The handshake has a timeout of its own: one that is cancelled leaves its socket open.
        reader, writer = await asyncio.open_connection(
            host, port, ssl=context, ssl_handshake_timeout=_PROBE_SECONDS
        )
        try:
            yield reader
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


async def _answers_plain(host: str, port: int) -> bool:
    milliseconds = int(_PROBE_SECONDS * 1000)
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(
        host, port, directConnection=True, serverSelectionTimeoutMS=milliseconds, connectTimeoutMS=milliseconds
    )
    try:
        await client.admin.command("hello")
    except PyMongoError:
        return False
    finally:
        await client.close()
    return True
