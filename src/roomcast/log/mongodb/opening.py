"""Opens the collection that a connection string names, or says in one sentence why it cannot be used."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from bson import Int64
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.client_options import ClientOptions
from pymongo.errors import (
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.read_concern import ReadConcern

from roomcast.log.mongodb.diagnosis import from_probe, from_topology
from roomcast.log.mongodb.errors import error_text, is_not_primary, no_caps, read_only, unusable
from roomcast.model.errors import LogUnusable
from roomcast.model.redact import redacted_url
from roomcast.model.retention import Retention

Document = dict[str, Any]
Collection = AsyncCollection[Document]

_MESSAGES = "messages"
_METADATA = "roomcast"
"""The small collection beside it, with the epoch, the rooms, the revocations and the ticket counter."""
_NO_CAP = 10**12
_NOT_SUPPORTED = frozenset({59, 72, 115, 238, 303, 40415})
"""The error codes for a missing feature, from servers that only speak MongoDB's protocol: CommandNotFound,
InvalidOptions, CommandNotSupported, NotImplemented, FeatureNotSupported, an unknown field."""
_FORM = "mongodb://HOST[:PORT]/serversentevents"

_log = logging.getLogger("roomcast.log")


class MongoTuning(NamedTuple):
    """Times that differ between MongoDB and its stand-ins, or that tests shorten. They are no user options."""

    await_ms: int = 1_000
    """Milliseconds for which the server waits for new documents before it answers that there are none."""
    check_seconds: float = 1.0
    """Seconds between two checks of the newest document. Without these checks, the loss of the newest document
    could stay hidden."""
    patience: float = 10.0
    """Seconds after which a publish that could not be stored is refused."""
    retry_seconds: float = 0.2
    """Seconds between two attempts while the database is away."""
    first_batch: int = 0
    """The cursor's batch size until `opened` changes it; 0: the server decides."""
    opened: Callable[[AsyncCursor[Document]], None] | None = None
    """Called with each cursor after its first document."""
    caps_seconds: float = 60.0
    """Seconds between two reads of the collection's caps, if nothing suggests a change."""
    stale_seconds: float = 5.0
    """For this many seconds, a new primary may lack a document that the last primary confirmed. After that, the
    document counts as lost."""


_DEFAULTS = {
    # Shorter than the driver's 30 s, because a publish is refused after 10 s.
    "serverselectiontimeoutms": ("serverSelectionTimeoutMS", 3_000),
    "connecttimeoutms": ("connectTimeoutMS", 3_000),
    # The driver has no limit: a connection that a firewall dropped would block everything for ever.
    "sockettimeoutms": ("socketTimeoutMS", 20_000),
    # With the driver's own retry, an outage would be noticed seconds later. Our loops retry themselves.
    "retryreads": ("retryReads", False),
    "appname": ("appName", "roomcast"),
}


class Store:
    """The collections of one log, with their read and write concerns."""

    def __init__(self, url: str, await_ms: int = MongoTuning().await_ms) -> None:
        """Prepares connections to `url`, and opens none yet. `await_ms`: the milliseconds for which the tail waits
        for new documents. Raises `LogUnusable` if the connection string is wrong, or has limits that are too short
        for that wait."""
        self.name = redacted_url(url)
        self.client = _client(url, self.name)
        self._tls = _uses_tls(url)
        _check_limits(self.client.options, await_ms)
        database = _database(self.client, url, self.name)
        concern, level = _concerns(database)
        self._reads_unconfirmed = level == "local" and concern.document["w"] != 1
        codec: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
        # Always the primary: a message must be found by every read after its publish was answered.
        self.database = database.with_options(codec, ReadPreference.PRIMARY, concern, ReadConcern(level))
        self.messages: Collection = self.database[_MESSAGES]
        self.metadata: Collection = self.database[_METADATA]
        # This one also sees documents that are not confirmed yet.
        self.latest = self.messages.with_options(read_concern=ReadConcern("local"))

    async def prepare(self, retention: Retention) -> Retention:
        """Creates the collection, with the caps of `retention`, and its indexes if they are missing. Returns the
        caps in force. Raises `LogUnusable`, and `PyMongoError` if the database is away."""
        caps = await self.caps()
        if caps is None:
            await self._create(retention)
            caps = await self.caps()
        if caps is None:
            raise LogUnusable(no_caps(self.name, f"it does not list the collection {_MESSAGES}"))
        await self.messages.create_index([("room", 1), ("_id", 1)])
        await self.messages.create_index("roomcast.key", sparse=True)
        await self._warn_of_foreign()
        return caps

    async def caps(self) -> Retention | None:
        """The caps in force now; None if the collection is gone. Raises as `prepare` does."""
        options = await self._options()
        return None if options is None else self._caps(options)

    async def confirm(self) -> None:
        """Waits until everything that was read is stored as the write concern says. Does nothing if reads only
        see documents that are stored so. Raises `PyMongoError`."""
        if self._reads_unconfirmed:
            # It changes nothing, and MongoDB confirms it once it can confirm the newest write before it.
            await self.metadata.update_one({"_id": "log"}, {"$max": {"counted": Int64(0)}})

    def refusal(self, error: PyMongoError) -> LogUnusable | None:
        """The mistake that `error` shows, if this log cannot be opened before it is mended; None if waiting may
        help."""
        topology = self.client.topology_description
        # In a replica set, this is an election, which passes. A server that was named alone stays a secondary.
        if is_not_primary(error) and topology.topology_type_name == "Single":
            return read_only(self.name)
        if isinstance(error, ServerSelectionTimeoutError):
            return from_topology(self.name, topology)
        return unusable(self.name, error)

    async def diagnose(self, error: PyMongoError) -> LogUnusable | None:
        """Like `refusal`. If `error` says that the driver could talk to no server, also probes the servers, which
        takes a few seconds at most."""
        found = self.refusal(error)
        if found or not isinstance(error, ServerSelectionTimeoutError):
            return found
        return await from_probe(self.name, self.client.topology_description, tls=self._tls)

    async def close(self) -> None:
        """Closes all connections. No other method may be called afterwards."""
        await self.client.close()

    async def _options(self) -> Mapping[str, Any] | None:
        async for found in await self.database.list_collections(filter={"name": _MESSAGES}):
            return {"type": found.get("type", "collection"), **found.get("options", {})}
        return None

    async def _create(self, retention: Retention) -> None:
        try:
            await self.database.create_collection(
                _MESSAGES, check_exists=False, capped=True, size=retention.max_bytes, max=retention.max_messages
            )
        except OperationFailure as error:
            if error.code in _NOT_SUPPORTED:
                raise LogUnusable(no_caps(self.name, error_text(error))) from error
            if error.code != 48:  # NamespaceExists: another process has created it meanwhile
                raise

    def _caps(self, options: Mapping[str, Any]) -> Retention:
        if not options.get("capped"):
            raise LogUnusable(
                f"The collection {_MESSAGES} of {self.name} is not capped: convert it with "
                f'db.runCommand({{convertToCapped: "{_MESSAGES}", size: 5000000}}), or name another database.'
            )
        return Retention(int(options.get("max") or _NO_CAP), int(options["size"]))

    async def _warn_of_foreign(self) -> None:
        ours = await self.messages.count_documents({"_id": {"$gte": 1}})
        foreign = await self.messages.estimated_document_count() - ours
        if foreign > 0:
            _log.warning(
                "%s holds %d documents that are not roomcast's: they are sent to nobody. Keep them elsewhere",
                _MESSAGES,
                foreign,
            )


def _client(url: str, name: str) -> AsyncMongoClient[Document]:
    if any(map(str.isspace, url)):  # the driver would look for a host of that name for ever
        raise LogUnusable(f"{name} is no connection string (there is a space in it): use {_FORM}.")
    given = _options(url)
    defaults: dict[str, Any] = dict(pair for key, pair in _DEFAULTS.items() if key not in given)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            client: AsyncMongoClient[Document] = AsyncMongoClient(url, **defaults)
        except PyMongoError as error:
            raise unusable(name, error) or LogUnusable(f"{name} cannot be used: {error}.") from error
        except (UserWarning, ValueError, TypeError) as error:  # an unknown or misspelt option
            raise unusable(name, InvalidURI(str(error))) or LogUnusable(str(error)) from error
        except OSError as error:  # a file for TLS that is missing or wrong
            raise LogUnusable(f"{name} cannot be used: {error.strerror or error}.") from error
    if client.read_preference != ReadPreference.PRIMARY:
        _log.warning(
            "readPreference is not used: a secondary may not yet have messages that are acknowledged; leave it out"
        )
    return client


def _options(url: str) -> dict[str, str]:
    """The connection string's options, by their names in lower case."""
    return {key.lower(): value for key, value in parse_qsl(url.partition("?")[2], keep_blank_values=True)}


def _uses_tls(url: str) -> bool:
    given = _options(url)
    return given.get("tls", given.get("ssl", str(url.startswith("mongodb+srv:")))).lower() == "true"


def _check_limits(options: ClientOptions, await_ms: int) -> None:
    """Raises `LogUnusable` for limits with which the log could never work."""
    pool = options.pool_options
    if pool.max_pool_size == 1:
        raise LogUnusable(
            "maxPoolSize=1 is not enough, as one connection always waits for news: use 2 or more, or leave it out."
        )
    least = 2 * await_ms
    # In seconds; None and 0 are no limit.
    for option, limit in (("timeoutMS", options.timeout), ("socketTimeoutMS", pool.socket_timeout)):
        if limit and limit * 1000 < least:
            raise LogUnusable(
                f"{option}={limit * 1000:.0f} cuts off the wait for news, which takes {await_ms} ms: "
                f"use {least} or more, or leave it out."
            )


def _database(client: AsyncMongoClient[Document], url: str, name: str) -> AsyncDatabase[Document]:
    path = unquote(url.partition("://")[2].rpartition("@")[2].partition("/")[2].partition("?")[0])
    try:
        database = client.get_default_database()
    except PyMongoError:
        path = ""
    # The driver takes the part after a dot for the name of a collection.
    if not path or path != database.name:
        raise LogUnusable(f"{name} names no database: use {_FORM}.")
    return database


def _concerns(database: AsyncDatabase[Document]) -> tuple[WriteConcern, str]:
    """The write concern (`majority` by default), and its read concern. With `majority` or w=1, reads see exactly
    the confirmed documents. With any other `w` they also see documents that are not confirmed yet."""
    requested = database.write_concern.document
    if requested.get("w", "majority") == "majority":
        return WriteConcern(**{**_limited(requested), "w": "majority"}), "majority"
    if requested["w"] == 0:
        raise LogUnusable("w=0 confirms nothing, and roomcast promises that a message is stored: leave w out.")
    return WriteConcern(**(requested if requested["w"] == 1 else _limited(requested))), "local"


def _limited(requested: Mapping[str, Any]) -> dict[str, Any]:
    """Adds a time limit: without one, a set that has lost the members that `w` asks for would block a write until
    `socketTimeoutMS`, and the driver would then close the connection."""
    return {"wtimeout": 5_000, **requested}


def int64(values: Mapping[str, int]) -> dict[str, Int64]:
    """`values` as BSON's 64-bit numbers."""
    return {name: Int64(value) for name, value in values.items()}
