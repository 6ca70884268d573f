"""PostgreSQL's errors as sentences for a person: what is wrong, and what to do."""

from __future__ import annotations

import re
import ssl

import asyncpg
from asyncpg import exceptions as pg

from roomcast.log.outage import HISTORY_CHANGED, HistoryChanged
from roomcast.model.errors import LogUnavailable, LogUnusable, RoomcastError
from roomcast.model.redact import redacted_url

FORM = "postgresql://USER@HOST[:PORT]/DATABASE"
_LOGIN = "{name} refuses the user or the password ({error}): check both, and .pgpass or the service file."
_NO_DATABASE = (
    "{name} names a database that does not exist ({error}): create it with createdb, or name another one."
)
_NO_RIGHT = (
    "This user may not create or use the schema roomcast in {name} ({error}): "
    "GRANT CREATE ON DATABASE … TO its role for the first start, or make the role the schema's owner."
)
_INCOMPLETE = "The schema roomcast in {name} is incomplete ({error}): restore it from a backup, or drop all of it."
_UNUSABLE: tuple[tuple[type[Exception], str], ...] = (
    (pg.InvalidAuthorizationSpecificationError, _LOGIN),  # InvalidPasswordError is one of them
    (pg.InvalidCatalogNameError, _NO_DATABASE),
    (pg.InsufficientPrivilegeError, _NO_RIGHT),
    (pg.UndefinedTableError, _INCOMPLETE),
    (pg.UndefinedFunctionError, _INCOMPLETE),
    (pg.ClientConfigurationError, "{name} is not a connection string ({error}): use " + FORM + "."),
    (ssl.SSLCertVerificationError, "{name} cannot prove its identity ({error}): check sslmode and sslrootcert."),
    (ssl.SSLError, "{name} and roomcast do not agree on TLS ({error}): check sslmode, sslcert and sslkey."),
)
_RETRIED = "roomcast tries again by itself"
_UNAVAILABLE: tuple[tuple[type[Exception], str], ...] = (
    (
        pg.TooManyConnectionsError,
        "The database has no connection left ({error}): check max_connections; " + _RETRIED,
    ),
    (pg.DiskFullError, "The database's disk is full; publishing goes on as soon as there is space"),
    (pg.ReadOnlySQLTransactionError, "The database is a standby or read-only; roomcast waits for a primary"),
    (pg.TargetServerAttributeNotMatched, "None of the database's servers is a primary; " + _RETRIED),
    # Before its base class, which would call the database a standby.
    (pg.LockNotAvailableError, "Another session holds the log's lock ({error}): look into pg_stat_activity"),
    (pg.ObjectNotInPrerequisiteStateError, "The database is a standby; roomcast waits for a primary"),
    (pg.QueryCanceledError, "The database took too long ({error})"),
    (TimeoutError, "The database takes too long; " + _RETRIED),
)
ANOTHER_EPOCH, ANOTHER_HISTORY, ANOTHER_LIFE = "RC001", "RC002", "RC003"
"""SQLSTATEs that our functions raise; see `lock` in functions.sql."""
_AWAY = (
    pg.PostgresConnectionError,
    pg.OperatorInterventionError,
    pg.InsufficientResourcesError,
    pg.TargetServerAttributeNotMatched,
    pg.ReadOnlySQLTransactionError,
    pg.ObjectNotInPrerequisiteStateError,  # LockNotAvailableError is one of them
    pg.PostgresSystemError,
    pg.ProtocolViolationError,
    OSError,
    TimeoutError,
)
"""Errors that pass when the database is back, or when its lock is free."""

Failure = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    HistoryChanged,
    OSError,
    TimeoutError,
)
"""Errors that a call may raise although our code has no defect. TLS errors are OSErrors."""


def is_another_history(error: BaseException) -> bool:
    """Whether `error` says that the log or the database has another history than the one this server knows."""
    if isinstance(error, HistoryChanged):
        return True
    return getattr(error, "sqlstate", None) in (ANOTHER_EPOCH, ANOTHER_HISTORY, ANOTHER_LIFE)


def unusable(name: str, error: BaseException) -> LogUnusable | None:
    """The mistake that `error` shows, if the log cannot be opened before it is mended; None if waiting may help.
    `name`: the log's name without credentials."""
    for kind, sentence in _UNUSABLE:
        if isinstance(error, kind):
            return LogUnusable(sentence.format(name=name, error=error_text(error)))
    if isinstance(error, asyncpg.InterfaceError | ValueError) and not isinstance(error, _AWAY):
        return LogUnusable(f"{name} cannot be used as it is written ({error_text(error)}): use {FORM}.")
    if isinstance(error, asyncpg.PostgresError) and not isinstance(error, _AWAY):
        return LogUnusable(f"{name} cannot be used ({error_text(error)}): check the database.")
    return None


def unavailable(error: BaseException) -> RoomcastError:
    """Why an open log does not answer, as `error` shows. Always a new exception: the traceback of a shared one
    would grow."""
    if isinstance(error, RoomcastError):
        return type(error)(error.detail)
    if is_another_history(error):
        return LogUnavailable(HISTORY_CHANGED)
    for kind, sentence in _UNAVAILABLE:
        if isinstance(error, kind):
            return LogUnavailable(sentence.format(error=error_text(error)) + ".")
    if isinstance(error, OSError | asyncpg.PostgresConnectionError | pg.OperatorInterventionError):
        return LogUnavailable(f"The database cannot be reached ({error_text(error)}); {_RETRIED}.")
    return LogUnavailable(f"The database gives an unexpected answer ({error_text(error)}).")


def error_text(error: BaseException) -> str:
    """The database's own text of `error` in one line of at most 200 characters, without secrets of a connection
    string."""
    text = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    # `invalid DSN: …` repeats the string that it could not parse.
    return re.sub(r"\S+://\S+", lambda match: redacted_url(match[0]), text)
