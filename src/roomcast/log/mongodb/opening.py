"""From a connection string to a collection that can be used: takes it over, or says in one sentence what stands in
the way."""

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
    CollectionInvalid,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.read_concern import ReadConcern

from roomcast.log.mongodb.diagnosis import from_probe, from_topology
from roomcast.log.mongodb.errors import no_caps, no_primary, read_only, said, unusable
from roomcast.model.errors import LogUnusable
from roomcast.model.redact import redact
from roomcast.model.retention import Retention

Document = dict[str, Any]
Collection = AsyncCollection[Document]

MESSAGES = "messages"
BESIDE = "roomcast"
"""The small collection beside it: the epoch, and what is known of each room."""
_NO_CAP = 10**12
_NOT_SUPPORTED = frozenset({59, 72, 115, 238, 303, 40415})
"""How servers that only speak MongoDB's protocol refuse what they do not have: CommandNotFound, InvalidOptions,
CommandNotSupported, NotImplemented, FeatureNotSupported, an unknown field."""
_FORM = "mongodb://HOST[:PORT]/serversentevents"

_log = logging.getLogger("roomcast.log")


class Tuning(NamedTuple):
    """What differs between a real server and a stand-in, and what tests shorten. No options of a user's."""

    await_ms: int = 1_000
    """How long the server holds back the answer that nothing is new."""
    look_seconds: float = 1.0
    """Between two looks at the newest document, so that a lost last one cannot hide."""
    patience: float = 10.0
    """Seconds after which a publish that could not be stored is refused."""
    retry_seconds: float = 0.2
    first_batch: int = 0
    """How many documents the cursor brings at first; 0: as many as the server likes."""
    opened: Callable[[AsyncCursor[Document]], None] | None = None
    """Called with each cursor that has brought its first batch."""
    caps_seconds: float = 60.0
    """Between two looks at the collection's caps, where nothing suggests that somebody has changed them."""
    stale_seconds: float = 5.0
    """How long a new primary may not know yet what the last one confirmed, before it counts as lost."""


_DEFAULTS = {
    # Not the driver's 30 s: a publish is refused after 10.
    "serverselectiontimeoutms": ("serverSelectionTimeoutMS", 3_000),
    "connecttimeoutms": ("connectTimeoutMS", 3_000),
    # None by default: a connection that a firewall forgot would hold up everything for good.
    "sockettimeoutms": ("socketTimeoutMS", 20_000),
    # With the driver's own second try it would be seconds until an outage is known; ours are in the loops.
    "retryreads": ("retryReads", False),
    "appname": ("appName", "roomcast"),
}


class Store:
    """The collections of one log, with how they are to be read and written."""

    def __init__(self, url: str, await_ms: int = Tuning().await_ms) -> None:
        """Raises `LogUnusable` for a string that says nothing, or cannot work with an await of `await_ms`."""
        self.name = redact(url)
        self.client = _client(url, self.name)
        self._tls = _uses_tls(url)
        _check_limits(self.client.options, await_ms)
        database = _database(self.client, url, self.name)
        concern, level = _concerns(database)
        codec: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
        # Always the primary: what a publish was answered with must be there for everybody who asks after it.
        self.database = database.with_options(codec, ReadPreference.PRIMARY, concern, ReadConcern(level))
        self.messages: Collection = self.database[MESSAGES]
        self.beside: Collection = self.database[BESIDE]
        # Here also what is not confirmed yet must be seen.
        self.latest = self.messages.with_options(read_concern=ReadConcern("local"))

    async def prepare(self, retention: Retention) -> Retention:
        """Makes what is missing, and gives the caps that are in force. Raises `LogUnusable`, and `PyMongoError`
        where the database is away."""
        caps = await self.caps()
        if caps is None:
            await self._create(retention)
            caps = await self.caps()
        if caps is None:
            raise LogUnusable(no_caps(self.name, f"it does not list the collection {MESSAGES}"))
        await self.messages.create_index([("room", 1), ("_id", 1)])
        await self.messages.create_index("roomcast.key", sparse=True)
        await self._count_foreign()
        return caps

    async def caps(self) -> Retention | None:
        """The caps that are in force now; None where the collection is gone. Raises as `prepare`."""
        options = await self._options()
        return None if options is None else self._caps(options)

    def refusal(self, error: PyMongoError) -> LogUnusable | None:
        """Why this log cannot be opened and waiting does not help; None where it may."""
        topology = self.client.topology_description
        # Of a set it is an election, which passes; a server that was named alone stays what it is.
        if no_primary(error) and topology.topology_type_name == "Single":
            return read_only(self.name)
        if isinstance(error, ServerSelectionTimeoutError):
            return from_topology(self.name, topology)
        return unusable(self.name, error)

    async def diagnose(self, error: PyMongoError) -> LogUnusable | None:
        """As `refusal`, and asks the servers themselves where the driver could talk to none; takes about a second
        longer then."""
        found = self.refusal(error)
        if found or not isinstance(error, ServerSelectionTimeoutError):
            return found
        return await from_probe(self.name, self.client.topology_description, tls=self._tls)

    async def close(self) -> None:
        await self.client.close()

    async def _options(self) -> Mapping[str, Any] | None:
        async for found in await self.database.list_collections(filter={"name": MESSAGES}):
            return {"type": found.get("type", "collection"), **found.get("options", {})}
        return None

    async def _create(self, retention: Retention) -> None:
        try:
            await self.database.create_collection(
                MESSAGES, check_exists=False, capped=True, size=retention.max_bytes, max=retention.max_messages
            )
        except CollectionInvalid:
            return
        except OperationFailure as error:
            if error.code in _NOT_SUPPORTED:
                raise LogUnusable(no_caps(self.name, said(error))) from error
            if error.code != 48:  # NamespaceExists: another process was faster
                raise

    def _caps(self, options: Mapping[str, Any]) -> Retention:
        if not options.get("capped"):
            raise LogUnusable(
                f"The collection {MESSAGES} of {self.name} is not capped: convert it with "
                f'db.runCommand({{convertToCapped: "{MESSAGES}", size: 5000000}}), or name another database.'
            )
        return Retention(int(options.get("max") or _NO_CAP), int(options["size"]))

    async def _count_foreign(self) -> None:
        ours = await self.messages.count_documents({"_id": {"$gte": 1}})
        foreign = await self.messages.estimated_document_count() - ours
        if foreign > 0:
            _log.warning(
                "%s holds %d documents that are not roomcast's: they are sent to nobody. Keep them elsewhere",
                MESSAGES,
                foreign,
            )


def _client(url: str, name: str) -> AsyncMongoClient[Document]:
    if any(map(str.isspace, url)):  # the driver would look for a host of that name, for ever
        raise LogUnusable(f"{name} is no connection string (there is a space in it): use {_FORM}.")
    given = _options(url)
    defaults: dict[str, Any] = dict(pair for key, pair in _DEFAULTS.items() if key not in given)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            client: AsyncMongoClient[Document] = AsyncMongoClient(url, **defaults)
        except PyMongoError as error:
            raise unusable(name, error) or LogUnusable(f"{name} cannot be used: {error}.") from error
        except (UserWarning, ValueError, TypeError) as error:  # an option unknown or misspelled
            raise unusable(name, InvalidURI(str(error))) or LogUnusable(str(error)) from error
        except OSError as error:  # a file for TLS that is not there, or is none
            raise LogUnusable(f"{name} cannot be used: {error.strerror or error}.") from error
    if client.read_preference != ReadPreference.PRIMARY:
        _log.warning(
            "readPreference is not used, as a secondary may lack what was acknowledged: remove it from --log"
        )
    return client


def _options(url: str) -> dict[str, str]:
    """The connection string's options, by their names in small letters."""
    return {key.lower(): value for key, value in parse_qsl(url.partition("?")[2], keep_blank_values=True)}


def _uses_tls(url: str) -> bool:
    given = _options(url)
    return given.get("tls", given.get("ssl", str(url.startswith("mongodb+srv:")))).lower() == "true"


def _check_limits(options: ClientOptions, await_ms: int) -> None:
    """Raises `LogUnusable` for what the log would never work with."""
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
    # What is behind a dot the driver takes for a collection.
    if not path or path != database.name:
        raise LogUnusable(f"{name} names no database: use {_FORM}.")
    return database


def _concerns(database: AsyncDatabase[Document]) -> tuple[WriteConcern, str]:
    """How writes are confirmed, `majority` where nothing is said, and what reading sees then: no more than is
    confirmed, and no less."""
    asked = database.write_concern.document
    if asked.get("w", "majority") == "majority":
        return WriteConcern(**{**_seconds(asked), "w": "majority"}), "majority"
    if asked["w"] == 0:
        raise LogUnusable("w=0 confirms nothing, and roomcast promises that a message is stored: leave w out.")
    return database.write_concern, "local"


def _seconds(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Without a limit, a set without its majority would hold up a write for good."""
    return {"wtimeout": 5_000, **asked}


def int64(values: Mapping[str, int]) -> dict[str, Int64]:
    return {name: Int64(value) for name, value in values.items()}
