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

_LOGIN = "{name} refuses the user or the password: check both, and authSource in the connection string."
_NO_RIGHT = "This user may not write {name}: give it the role readWrite on that database."
_NO_USER = "{name} wants a user and a password: use mongodb://USER:PASSWORD@HOST/DATABASE?authSource=admin."
_TOO_FEW = (
    "{name} cannot keep the write concern that is asked for ({error}): correct w in the connection string, or "
    "start the missing members."
)
_READ_ONLY = (
    "{name} cannot be written on this server, which is no primary: name all members of the replica set, "
    "with replicaSet=NAME, and leave out directConnection."
)
_UNUSABLE: dict[int, str] = {
    18: _LOGIN,  # AuthenticationFailed
    8000: _LOGIN,  # AtlasError
    13: _NO_RIGHT,  # Unauthorized
    33: _LOGIN,  # KeyNotFound
    20: "{name} cannot be written ({error}): check what kind of server it is.",  # IllegalOperation
    79: _TOO_FEW,  # UnknownReplWriteConcern
    100: _TOO_FEW,  # UnsatisfiableWriteConcern: the set has no such members, whether they are up or not
    73: "{name} is no name of a database ({error}): use mongodb://HOST/serversentevents.",  # InvalidNamespace
    166: "{name} is a view: name another database.",  # CommandNotSupportedOnView
}
_MOVING = frozenset({10107, 13435, 11602, 189, 91, 11600, 13436})
"""The server is no primary, or stops being one: https://github.com/mongodb/specifications,
server-discovery-and-monitoring, "Not writable primary and node is recovering"."""


def is_away(error: PyMongoError) -> bool:
    """Whether it passes by itself, or when somebody brings the database, or the name server, back."""
    return isinstance(error, ConnectionFailure | ExecutionTimeout) or _no_name_server(error)


def _no_name_server(error: PyMongoError) -> bool:
    """Whether nobody answered for the name of mongodb+srv://. That there is no such name is another answer; the
    driver raises a `ConfigurationError` for both."""
    return isinstance(error.__cause__, NamesTimeout | NoNameservers)


def unusable(name: str, error: PyMongoError) -> LogUnusable | None:
    """Why a log cannot be opened and waiting does not help; None where it may."""
    if _no_name_server(error):
        return None
    if isinstance(error, InvalidURI):
        return LogUnusable(f"{name} is no connection string ({said(error)}): use mongodb://HOST/serversentevents.")
    if isinstance(error, ConfigurationError):
        if "wire version" in str(error):
            return LogUnusable(f"{name} is too old a MongoDB server: use version 4.4 or newer ({said(error)}).")
        return LogUnusable(
            f"{name} cannot be used as it is written ({said(error)}): correct its host and options."
        )
    if isinstance(error, OperationFailure) and "requires authentication" in str(error):
        return LogUnusable(_NO_USER.format(name=name))
    if isinstance(error, OperationFailure) and error.code in _UNUSABLE:
        return LogUnusable(_UNUSABLE[error.code].format(name=name, error=said(error)))
    return None


def read_only(name: str) -> LogUnusable:
    """The server is reached, and takes no writes: alone, a secondary, or its replica set has no majority."""
    return LogUnusable(_READ_ONLY.format(name=name))


def no_caps(name: str, why: str) -> str:
    """What is said of a server that keeps no capped collection."""
    return f"{name} keeps no capped collections ({why}): use MongoDB itself, not a server that is only compatible."


def no_primary(error: PyMongoError) -> bool:
    """Whether the server said that it is no primary now."""
    if isinstance(error, NotPrimaryError):
        return True
    return isinstance(error, OperationFailure) and error.code in _MOVING


def unavailable(error: PyMongoError) -> LogUnavailable:
    """Why an open log does not answer."""
    if no_primary(error):
        return LogUnavailable("The database has no primary now; everything goes on as soon as there is one.")
    if is_away(error):
        return LogUnavailable(f"The database cannot be reached ({said(error)}); everything goes on when it can.")
    if isinstance(error, WriteConcernError | WTimeoutError):
        return LogUnavailable(f"The database cannot keep its write concern ({said(error)}).")
    if isinstance(error, OperationFailure) and error.code == 13:
        return LogUnavailable("The database's user may not do this any more: give it the role readWrite.")
    return LogUnavailable(f"The database does not answer as it should ({said(error)}).")


def said(error: PyMongoError) -> str:
    """The server's own word, without the topology and the options that the driver adds to it."""
    text = (
        str(error).partition(", Timeout:")[0].partition(", full error:")[0].partition(" (configured timeouts")[0]
    )
    return " ".join(text.split())[:200].rstrip(".")
