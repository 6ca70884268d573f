"""MongoDB's errors as sentences for a person: what is wrong, and what to do."""

from __future__ import annotations

from dns.exception import Timeout as NamesTimeout
from dns.resolver import NoNameservers
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidURI,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
    WTimeoutError,
)

from roomcast.model.errors import LogUnavailable, LogUnusable

_LOGIN = "{name} refuses the user or the password: correct them, or authSource in the connection string."
_NO_RIGHT = "This user may not write {name}: give it the role readWrite on that database."
_NO_USER = "{name} requires a user and a password: use mongodb://USER:PASSWORD@HOST/DATABASE?authSource=admin."
_TOO_FEW = "{name} cannot keep the requested write concern ({error}): correct w in the connection string."
_READ_ONLY = (
    "{name} cannot be written on this server, which is no primary: name all members of the replica set, "
    "with replicaSet=NAME, and leave out directConnection."
)
_UNUSABLE: dict[int, str] = {
    18: _LOGIN,  # AuthenticationFailed
    8000: _LOGIN,  # AtlasError
    13: _NO_RIGHT,  # Unauthorized
    33: _LOGIN,  # KeyNotFound
    20: "{name} cannot be written ({error}): correct the server's set-up.",  # IllegalOperation
    79: _TOO_FEW,  # UnknownReplWriteConcern
    100: _TOO_FEW,  # UnsatisfiableWriteConcern: the set has no such members, whether they are up or not
    73: "{name} is no name of a database ({error}): use mongodb://HOST/serversentevents.",  # InvalidNamespace
    166: "{name} is a view: name another database.",  # CommandNotSupportedOnView
}
_MOVING = frozenset({10107, 13435, 11602, 189, 91, 11600, 13436})
"""The server is not the primary, or is stepping down: https://github.com/mongodb/specifications,
server-discovery-and-monitoring, "Not writable primary and node is recovering"."""


def is_away(error: PyMongoError) -> bool:
    """Whether `error` passes by itself, or when the database or the name server is back."""
    return isinstance(error, ConnectionFailure | ExecutionTimeout) or _no_name_server(error)


def _no_name_server(error: PyMongoError) -> bool:
    """Whether no name server answered for the name in mongodb+srv://. The driver raises a `ConfigurationError` for
    that, and also if the name does not exist."""
    return isinstance(error.__cause__, NamesTimeout | NoNameservers)


def unusable(name: str, error: PyMongoError) -> LogUnusable | None:
    """The mistake that `error` shows, if the log cannot be opened before it is mended; None if waiting may help.
    `name`: the log's name without credentials."""
    if _no_name_server(error):
        return None
    if isinstance(error, InvalidURI):
        return LogUnusable(
            f"{name} is no connection string ({error_text(error)}): use mongodb://HOST/serversentevents."
        )
    if isinstance(error, ConfigurationError):
        if "wire version" in str(error):
            return LogUnusable(
                f"{name} is too old a MongoDB server: use version 4.4 or newer ({error_text(error)})."
            )
        return LogUnusable(
            f"{name} cannot be used as it is written ({error_text(error)}): correct its host and options."
        )
    if isinstance(error, OperationFailure) and "requires authentication" in str(error):
        return LogUnusable(_NO_USER.format(name=name))
    if isinstance(error, OperationFailure) and error.code in _UNUSABLE:
        return LogUnusable(_UNUSABLE[error.code].format(name=name, error=error_text(error)))
    return None


def read_only(name: str) -> LogUnusable:
    """The mistake if a server answers but takes no writes: it is a secondary, or its replica set has no majority.
    `name`: the log's name without credentials."""
    return LogUnusable(_READ_ONLY.format(name=name))


def no_caps(name: str, why: str) -> str:
    """The error text for a server that has no capped collections. `name`: the log's name without credentials;
    `why`: how that showed."""
    return f"{name} keeps no capped collections ({why}): use MongoDB itself, not a server that is only compatible."


def is_not_primary(error: PyMongoError) -> bool:
    """Whether `error` says that the server is not the primary now, which ends with an election."""
    if isinstance(error, NotPrimaryError):
        return True
    return isinstance(error, OperationFailure) and error.code in _MOVING


def unavailable(error: PyMongoError) -> LogUnavailable:
    """The error of an open log whose database answered with `error`, or not at all."""
    if is_not_primary(error):
        return LogUnavailable("The database has no primary now; everything goes on as soon as there is one.")
    if is_away(error):
        return LogUnavailable(
            f"The database cannot be reached ({error_text(error)}); everything goes on when it can."
        )
    if isinstance(error, WriteConcernError | WTimeoutError):
        return LogUnavailable(f"The database cannot keep its write concern ({error_text(error)}).")
    if isinstance(error, OperationFailure) and error.code == 13:
        return LogUnavailable("The database's user may no longer do this: give it the role readWrite.")
    return LogUnavailable(f"The database does not answer as it should ({error_text(error)}).")


def error_text(error: PyMongoError) -> str:
    """The server's own text of `error` in one line of at most 200 characters, without the topology and the options
    that the driver adds to it."""
    text = (
        str(error).partition(", Timeout:")[0].partition(", full error:")[0].partition(" (configured timeouts")[0]
    )
    return " ".join(text.split())[:200].rstrip(".")
