"""MongoDB's errors as sentences for a person: what is wrong, and what to do."""

from __future__ import annotations

from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidURI,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WTimeoutError,
)

from roomcast.model.errors import LogUnavailable, LogUnusable

_LOGIN = "{name} refuses the user or the password: see to both, and to authSource in the connection string."
_NO_RIGHT = "This user may not write {name}: give it the role readWrite on that database."
_READ_ONLY = (
    "{name} cannot be written on this server, which is no primary: name all members of the replica set, "
    "with replicaSet=NAME, and leave out directConnection."
)
_UNUSABLE: dict[int, str] = {
    18: _LOGIN,  # AuthenticationFailed
    8000: _LOGIN,  # AtlasError
    13: _NO_RIGHT,  # Unauthorized
    33: _LOGIN,  # KeyNotFound
    20: "{name} cannot be written ({error}): see to the server.",  # IllegalOperation
    73: "{name} is no name of a database ({error}): use mongodb://HOST/serversentevents.",  # InvalidNamespace
    166: "{name} is a view: name another database.",  # CommandNotSupportedOnView
}
_MOVING = frozenset({10107, 13435, 11602, 189, 91, 11600, 13436})
"""The server is no primary, or stops being one: https://github.com/mongodb/specifications,
server-discovery-and-monitoring, "Not writable primary and node is recovering"."""
AWAY = (ConnectionFailure, ExecutionTimeout)
"""What passes by itself, or when somebody brings the database back."""


def unusable(name: str, error: PyMongoError) -> LogUnusable | None:
    """Why a log cannot be opened and waiting does not help; None where it may."""
    if isinstance(error, InvalidURI):
        return LogUnusable(
            f"{name} is no connection string ({_said(error)}): use mongodb://HOST/serversentevents."
        )
    if isinstance(error, ConfigurationError):
        if "wire version" in str(error):
            return LogUnusable(f"{name} is too old a MongoDB server: use version 4.4 or newer ({_said(error)}).")
        return LogUnusable(f"{name} cannot be used as it is written ({_said(error)}): see to its options.")
    if isinstance(error, OperationFailure) and error.code in _UNUSABLE:
        return LogUnusable(_UNUSABLE[error.code].format(name=name, error=_said(error)))
    return None


def read_only(name: str) -> LogUnusable:
    """The server is reached, and takes no writes: alone, a secondary, or its replica set has no majority."""
    return LogUnusable(_READ_ONLY.format(name=name))


def no_primary(error: PyMongoError) -> bool:
    """Whether the server said that it is no primary now."""
    if isinstance(error, NotPrimaryError):
        return True
    return isinstance(error, OperationFailure) and error.code in _MOVING


def unavailable(error: PyMongoError) -> LogUnavailable:
    """Why an open log does not answer."""
    if no_primary(error):
        return LogUnavailable("The database has no primary now; everything goes on as soon as there is one.")
    if isinstance(error, ServerSelectionTimeoutError | ConnectionFailure):
        return LogUnavailable(f"The database cannot be reached ({_said(error)}); everything goes on when it can.")
    if isinstance(error, WriteConcernError | WTimeoutError):
        return LogUnavailable(f"The database cannot keep its write concern ({_said(error)}).")
    if isinstance(error, OperationFailure) and error.code == 13:
        return LogUnavailable("The database's user may not do this any more: give it the role readWrite.")
    return LogUnavailable(f"The database does not answer as it should ({_said(error)}).")


def _said(error: PyMongoError) -> str:
    """The server's own word, without the topology and the options that the driver adds to it."""
    text = (
        str(error).partition(", Timeout:")[0].partition(", full error:")[0].partition(" (configured timeouts")[0]
    )
    return " ".join(text.split())[:200].rstrip(".")
