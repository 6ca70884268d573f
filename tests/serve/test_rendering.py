"""The rendering of log lines, ours and those of other libraries."""

from __future__ import annotations

import json
import logging
import re

import pytest

from roomcast.serve.rendering import JsonLines, Rendering, TextLines, rendered

HOSTILE = (
    "a\r\n2026-11-22T06:27:00.123Z b\x0b\x0c\x1c\x1b[2J\x7f\x85\x9b\u2028\u2029"
    "\u061c\u200e\u200f\u202a\u202e\u2066\u2069\ufeff\ud800"
)
"""All kinds of line ends, controls and characters that change the direction."""
DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
BOTH = pytest.mark.parametrize("rendering", [TextLines(), JsonLines()], ids=["text", "json"])


def record(
    message: str, *arguments: object, error: BaseException | None = None, **fields: object
) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("roomcast.streams", logging.WARNING, "x.py", 1, message, arguments, exc_info)
    made.fields = fields
    return made


def raised(text: str) -> BaseException:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def test_a_request_has_a_date_and_its_line_in_text() -> None:
    line = TextLines().request("10.0.0.1", "GET", "/messages?room=a", 200, 0.01234, "")
    assert re.fullmatch(rf"{DATE} 10\.0\.0\.1 GET /messages\?room=a 200 12\.3 ms", line)
    assert TextLines().request("10.0.0.1", "GET", "/", 200, 2.0, "alice").endswith(" 200 2000.0 ms alice")


@pytest.mark.parametrize("target", ["/messages?room=a", '/messages?room="a\\b"'], ids=["plain", "quoted"])
@pytest.mark.parametrize("principal", ["", "alice"])
def test_a_request_is_an_object_in_json(target: str, principal: str) -> None:
    line = json.loads(JsonLines().request("10.0.0.1", "GET", target, 200, 0.01234, principal))
    assert re.fullmatch(DATE, line.pop("time"))
    assert line == {
        "level": "info",
        "logger": "roomcast.access",
        "message": f"10.0.0.1 GET {target} 200 12.3 ms" + (" alice" if principal else ""),
        "client": "10.0.0.1",
        "method": "GET",
        "target": target,
        "status": 200,
        "seconds": 0.01234,
        **({"principal": "alice"} if principal else {}),
    }


@BOTH
def test_no_request_can_end_a_line_or_change_its_direction(rendering: Rendering) -> None:
    assert rendering.request(HOSTILE, "GET", "/", 200, 0.0, "").isprintable()
    assert rendering.request("x", HOSTILE, "/", 200, 0.0, "").isprintable()
    assert rendering.request("x", "GET", "/", 200, 0.0, HOSTILE).isprintable()


@BOTH
def test_no_record_can_end_a_line_or_change_its_direction(rendering: Rendering) -> None:
    assert rendered(rendering, record("a stream of %s ended", HOSTILE, rooms=[HOSTILE])).isprintable()


def test_a_traceback_in_text_is_indented_so_that_its_error_cannot_pass_for_a_line() -> None:
    first, *trace = rendered(TextLines(), record("failed", error=raised(HOSTILE))).split("\n")
    assert re.fullmatch(rf"{DATE} warning: failed: this is a bug, please report it with its traceback", first)
    assert all(line.startswith("  ") and line.isprintable() for line in trace)
    assert "ValueError: a" in trace[-2]


def test_a_traceback_in_json_is_one_line() -> None:
    line = rendered(JsonLines(), record("failed", error=raised(HOSTILE)))
    assert line.isprintable()
    assert json.loads(line)["trace"].startswith("Traceback (most recent call last)")


@BOTH
def test_no_error_and_no_traceback_shows_a_secret(rendering: Rendering) -> None:
    error = raised("no answer to GET /x?%74icket=hidden\r\nAuthorization: Bearer hidden\r\nCookie: a=hidden")
    line = rendered(rendering, record("failed: %s", error, error=error))
    assert "no answer" in line
    assert "hidden" not in line.replace("test_no_error", "")


@BOTH
def test_a_record_whose_arguments_do_not_fit_is_reported_and_not_lost(rendering: Rendering) -> None:
    assert "a line that could not be written: TypeError" in rendered(rendering, record("%d", "x"))


def test_a_field_of_a_type_that_json_lacks_is_written_as_its_repr() -> None:
    assert json.loads(rendered(JsonLines(), record("x", what=object)))["what"] == "<class 'object'>"
    assert json.loads(rendered(JsonLines(), record("größe", what="größe")))["what"] == "größe"
