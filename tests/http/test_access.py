"""The line of a request, as a record for the program that roomcast is a part of."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from roomcast.http import access


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "roomcast.access"):
        yield caplog


def test_a_program_that_configured_logging_gets_a_record_with_its_fields(heard: pytest.LogCaptureFixture) -> None:
    assert access.is_enabled()
    access.log_request("10.0.0.1", "GET", b"/messages?room=a", 200, 0.0123, "alice")
    [record] = heard.records
    assert record.getMessage() == "10.0.0.1 GET /messages?room=a 200 12.3 ms alice"
    assert record.fields == {  # type: ignore[attr-defined]
        "client": "10.0.0.1",
        "method": "GET",
        "target": "/messages?room=a",
        "status": 200,
        "seconds": 0.0123,
        "principal": "alice",
    }


def test_a_record_shows_no_secret(heard: pytest.LogCaptureFixture) -> None:
    access.log_request("10.0.0.1", "GET", b"/messages?room=a&%74icket=hidden", 200, 0.0)
    [record] = heard.records
    assert record.getMessage() == "10.0.0.1 GET /messages?room=a&%74icket=… 200 0.0 ms"
    assert "hidden" not in str(record.__dict__)


def test_nothing_is_logged_while_logging_is_off() -> None:
    assert not access.is_enabled()
