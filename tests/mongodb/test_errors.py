"""The driver's errors as sentences: which of them no waiting fixes, and what the others tell a publisher."""

from __future__ import annotations

import pytest
from dns.resolver import NoNameservers
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ExecutionTimeout,
    InvalidURI,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WTimeoutError,
)

from roomcast.log.mongodb.errors import (
    error_text,
    is_away,
    is_not_primary,
    no_caps,
    read_only,
    unavailable,
    unusable,
)

NAME = "mongodb://ada@db/chat"


def without_name_server() -> ConfigurationError:
    """The driver's error if no name server answers for a mongodb+srv:// name."""
    error = ConfigurationError("the name could not be resolved")
    error.__cause__ = NoNameservers()  # type: ignore[no-untyped-call]
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (InvalidURI("no port"), "is no connection string (no port): use mongodb://HOST/serversentevents"),
        (ConfigurationError("wire version 6"), "is too old a MongoDB server: use version 4.4 or newer"),
        (ConfigurationError("bad option"), "cannot be used as it is written (bad option): correct its host"),
        (OperationFailure("command find requires authentication", 13), "requires a user and a password"),
        (OperationFailure("no", 18), "refuses the user or the password"),
        (OperationFailure("no", 8000), "refuses the user or the password"),
        (OperationFailure("no", 33), "refuses the user or the password"),
        (OperationFailure("no", 13), "give it the role readWrite"),
        (OperationFailure("no", 20), "cannot be written (no): correct the server's set-up"),
        (OperationFailure("no", 79), "cannot keep the requested write concern (no): correct w"),
        (OperationFailure("no", 100), "cannot keep the requested write concern (no): correct w"),
        (OperationFailure("no", 73), "is no name of a database (no)"),
        (OperationFailure("no", 166), "is a view: name another database"),
    ],
    ids=lambda value: "" if isinstance(value, str) else f"{type(value).__name__} {getattr(value, 'code', '')}",
)
def test_an_error_that_waiting_does_not_fix_says_what_to_do(error: PyMongoError, says: str) -> None:
    found = unusable(NAME, error)
    assert found
    assert says in found.detail


@pytest.mark.parametrize(
    "error", [OperationFailure("no", 1), AutoReconnect("gone"), without_name_server()], ids=lambda e: str(e)
)
def test_any_other_error_does_not_keep_the_server_from_starting(error: PyMongoError) -> None:
    assert unusable(NAME, error) is None


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (NotPrimaryError("no"), "The database has no primary now; everything goes on as soon as there is one."),
        (
            OperationFailure("no", 10107),
            "The database has no primary now; everything goes on as soon as there is one.",
        ),
        (AutoReconnect("gone"), "The database cannot be reached (gone); everything goes on when it can."),
        (WriteConcernError("no", 64), "The database cannot keep its write concern (no)."),
        (WTimeoutError("no", 64), "The database cannot keep its write concern (no)."),
        (OperationFailure("no", 13), "The database's user may no longer do this: give it the role readWrite."),
        (OperationFailure("odd", 1), "The database does not answer as it should (odd)."),
    ],
    ids=lambda value: "" if isinstance(value, str) else f"{type(value).__name__} {getattr(value, 'code', '')}",
)
def test_a_publisher_is_told_why_the_database_does_not_answer(error: PyMongoError, says: str) -> None:
    assert unavailable(error).detail == says


def test_only_a_lost_connection_or_name_server_means_that_the_database_is_away() -> None:
    assert is_away(AutoReconnect("gone"))
    assert is_away(without_name_server())
    assert not is_away(OperationFailure("no", 13))
    assert not is_away(ConfigurationError("bad option"))


def test_the_drivers_additions_to_an_error_are_left_out() -> None:
    added = "db:1: refused (configured timeouts: socketTimeoutMS: 1), Timeout: 3s, Topology Description: <…>"
    assert error_text(ServerSelectionTimeoutError(added)) == "db:1: refused"
    assert error_text(OperationFailure("no \n right., full error: {}")) == "no right"
    assert len(error_text(PyMongoError("x" * 300))) == 200


def test_a_server_that_cannot_hold_a_log_is_named() -> None:
    assert read_only(NAME).detail.startswith(f"{NAME} cannot be written on this server, which is no primary")
    assert no_caps(NAME, "no such command").startswith(f"{NAME} keeps no capped collections (no such command)")


@pytest.mark.parametrize("code", [91, 189, 10107, 11600, 11602, 13435, 13436])
def test_a_server_that_is_not_the_primary_now_may_be_so_again(code: int) -> None:
    assert is_not_primary(OperationFailure("no", code))


def test_a_database_that_takes_too_long_is_away() -> None:
    assert is_away(ExecutionTimeout("slow"))
