"""The driver's errors as sentences: which of them no waiting fixes, and what the others tell a publisher."""

from __future__ import annotations

import ssl

import asyncpg
import pytest
from asyncpg import exceptions as pg

from roomcast.log.outage import HISTORY_CHANGED, HistoryChanged
from roomcast.log.postgresql.errors import error_text, is_another_history, unavailable, unusable
from roomcast.model.errors import KeyReused, LogUnavailable, RoomcastError

NAME = "postgresql://ada@db/chat"


def raised(state: str) -> asyncpg.PostgresError:
    """The error that one of our functions raises with this SQLSTATE."""
    return asyncpg.PostgresError.new({"C": state, "M": "other"})


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (pg.InvalidPasswordError("no"), "refuses the user or the password (no)"),
        (pg.InvalidCatalogNameError("no"), "names a database that does not exist (no): create it with createdb"),
        (pg.InsufficientPrivilegeError("no"), "GRANT CREATE ON DATABASE"),
        (pg.UndefinedTableError("no"), "is incomplete (no): restore it from a backup"),
        (pg.UndefinedFunctionError("no"), "is incomplete (no): restore it from a backup"),
        (pg.ClientConfigurationError("no"), "is not a connection string (no): use postgresql://USER@HOST"),
        (ssl.SSLCertVerificationError("no"), "cannot prove its identity"),
        (ssl.SSLError("no"), "do not agree on TLS"),
        (asyncpg.InterfaceError("no"), "cannot be used as it is written (no)"),
        (ValueError("no"), "cannot be used as it is written (no)"),
        (pg.SyntaxOrAccessError("no"), "cannot be used (no): check the database"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_an_error_that_waiting_does_not_fix_says_what_to_do(error: Exception, says: str) -> None:
    found = unusable(NAME, error)
    assert found
    assert found.detail.startswith(NAME) or f" in {NAME} " in found.detail
    assert says in found.detail


AWAY = [
    (pg.TooManyConnectionsError("no"), "no connection left (no): check max_connections"),
    (pg.DiskFullError("no"), "disk is full"),
    (pg.ReadOnlySQLTransactionError("no"), "is a standby or read-only"),
    (pg.TargetServerAttributeNotMatched("no"), "None of the database's servers is a primary"),
    (pg.ObjectNotInPrerequisiteStateError("no"), "is a standby"),
    (pg.LockNotAvailableError("no"), "Another session holds the log's lock (no)"),
    (pg.QueryCanceledError("no"), "took too long (no)"),
    (TimeoutError(), "takes too long"),
    (ConnectionRefusedError("no"), "cannot be reached (no); roomcast tries again by itself"),
    (pg.ConnectionDoesNotExistError("no"), "cannot be reached (no)"),
    (pg.AdminShutdownError("no"), "cannot be reached (no)"),
]


@pytest.mark.parametrize(("error", "says"), AWAY, ids=lambda v: "" if isinstance(v, str) else type(v).__name__)
def test_an_error_that_passes_is_waited_for_and_a_publisher_is_told_why(error: Exception, says: str) -> None:
    assert unusable(NAME, error) is None
    assert says in unavailable(error).detail


@pytest.mark.parametrize(
    "error", [HistoryChanged(), raised("RC001"), raised("RC002"), raised("RC003")], ids=lambda e: str(e) or "ours"
)
def test_a_log_with_another_history_is_read_again(error: Exception) -> None:
    assert is_another_history(error)
    assert unavailable(error).detail == HISTORY_CHANGED


def test_an_unexpected_error_is_told_as_such() -> None:
    assert not is_another_history(pg.DivisionByZeroError("no"))
    assert unavailable(pg.DivisionByZeroError("no")).detail == "The database gives an unexpected answer (no)."


@pytest.mark.parametrize("error", [LogUnavailable("away"), KeyReused("reused")])
def test_each_waiting_publish_gets_an_error_of_its_own(error: RoomcastError) -> None:
    other = unavailable(error)
    assert other is not error
    assert (type(other), other.detail) == (type(error), error.detail)


def test_an_errors_text_is_one_short_line_without_a_password() -> None:
    error = asyncpg.InterfaceError("invalid DSN:\n postgresql://ada:hunter2@db/chat")
    assert error_text(error) == "invalid DSN: postgresql://ada@db/chat"
    assert error_text(TimeoutError()) == "TimeoutError"
    assert len(error_text(ValueError("x" * 300))) == 200
