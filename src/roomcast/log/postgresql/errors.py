"""PostgreSQL's errors as sentences for a person: what is wrong, and what to do."""

from __future__ import annotations

import re
import ssl

import asyncpg
from asyncpg import exceptions as pg

from roomcast.model.errors import LogUnavailable, LogUnusable, RoomcastError
from roomcast.model.redact import redact

FORM = "postgresql://USER@HOST[:PORT]/DATABASE"
_NOT_WHOLE = "The schema roomcast in {name} is not whole ({error}): restore it from a backup."
_LOGIN = "{name} refuses the user or the password ({error}): check both, and .pgpass or the service file."
_NO_DATABASE = "{name} names a database that does not exist ({error}): make it with createdb, or name another one."
_NO_RIGHT = (
    "This user may not make or use the schema roomcast in {name} ({error}): "
    "GRANT CREATE ON DATABASE … TO its role for the first start, or make the role the schema's owner."
)
_UNUSABLE: tuple[tuple[type[Exception], str], ...] = (
    (pg.InvalidAuthorizationSpecificationError, _LOGIN),  # InvalidPasswordError is one of them
    (pg.InvalidCatalogNameError, _NO_DATABASE),
    (pg.InsufficientPrivilegeError, _NO_RIGHT),
    (pg.UndefinedTableError, _NOT_WHOLE),
    (pg.UndefinedFunctionError, _NOT_WHOLE),
    (pg.ClientConfigurationError, "{name} is no connection string ({error}): use " + FORM + "."),
    (ssl.SSLCertVerificationError, "{name} does not prove who it is ({error}): check sslmode and sslrootcert."),
    (ssl.SSLError, "{name} and roomcast do not agree on TLS ({error}): check sslmode, sslcert and sslkey."),
)
_NOW = "everything goes on when it can"
_UNAVAILABLE: tuple[tuple[type[Exception], str], ...] = (
    (pg.TooManyConnectionsError, "The database has no connection left ({error}): raise max_connections; " + _NOW),
    (pg.DiskFullError, "The database's disk is full; publishing goes on as soon as there is room"),
    (pg.ReadOnlySQLTransactionError, "The database is a standby or read-only; everything goes on at a primary"),
    (pg.TargetServerAttributeNotMatched, "None of the database's servers is a primary; " + _NOW),
    (pg.ObjectNotInPrerequisiteStateError, "The database is a standby; everything goes on at a primary"),
    (pg.LockNotAvailableError, "Something holds the log's row locked ({error}): look into pg_stat_activity"),
    (pg.QueryCanceledError, "The database took too long ({error})"),
    (TimeoutError, "The database takes too long; " + _NOW),
)
ANOTHER_EPOCH, ANOTHER_HISTORY, ANOTHER_LIFE = "RC001", "RC002", "RC003"
"""What our functions raise, see `lock` in functions.sql."""
Failure = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""Errors that a call of the driver raises without a defect of ours. TLS errors are OSErrors."""
_AWAY = (
    pg.PostgresConnectionError,
    pg.OperatorInterventionError,
    pg.InsufficientResourcesError,
    pg.TargetServerAttributeNotMatched,
    pg.ReadOnlySQLTransactionError,
    pg.ObjectNotInPrerequisiteStateError,
    pg.LockNotAvailableError,
    pg.PostgresSystemError,
    pg.ProtocolViolationError,
    OSError,
    TimeoutError,
)


class Forked(Exception):
    """The log's epoch or history, or the database's life, is not the one this server knows."""


def is_forked(error: BaseException) -> bool:
    return getattr(error, "sqlstate", None) in (ANOTHER_EPOCH, ANOTHER_HISTORY, ANOTHER_LIFE)


def unusable(name: str, error: BaseException) -> LogUnusable | None:
    """Why the log cannot be opened although the server waits; None if waiting may help."""
    for kind, sentence in _UNUSABLE:
        if isinstance(error, kind):
            return LogUnusable(sentence.format(name=name, error=said(error)))
    if isinstance(error, asyncpg.InterfaceError | ValueError) and not isinstance(error, _AWAY):
        return LogUnusable(f"{name} cannot be used as it is written ({said(error)}): use {FORM}.")
    if isinstance(error, asyncpg.PostgresError) and not isinstance(error, _AWAY):
        return LogUnusable(f"{name} cannot be used ({said(error)}): check the database.")
    return None


def unavailable(error: BaseException) -> RoomcastError:
    """Why an open log does not answer."""
    if isinstance(error, RoomcastError):
        return type(error)(error.detail)
    if is_forked(error) or isinstance(error, Forked):
        return LogUnavailable("The log is read anew, as its history has changed.")
    for kind, sentence in _UNAVAILABLE:
        if isinstance(error, kind):
            return LogUnavailable(sentence.format(error=said(error)) + ".")
    if isinstance(error, OSError | asyncpg.PostgresConnectionError | pg.OperatorInterventionError):
        return LogUnavailable(f"The database cannot be reached ({said(error)}); {_NOW}.")
    return LogUnavailable(f"The database does not answer as it should ({said(error)}).")


def said(error: BaseException) -> str:
    """The database's own error text in one line, without secrets of a connection string."""
    text = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    # `invalid DSN: …` repeats the string that it could not parse.
    return re.sub(r"\S+://\S+", lambda match: redact(match[0]), text)
