"""A second decoder of event streams, slow and exactly as WHATWG HTML, section 9.2.6, has it."""

from __future__ import annotations

from typing import NamedTuple

LONGEST = 10**12
"""Milliseconds: the longest delay."""


class Decoded(NamedTuple):
    """Everything that is decoded from a stream."""

    events: list[tuple[str, str, str]]
    """Type, data, last event id."""
    comments: list[str]
    retry: int | None
    last_event_id: str


def decode(stream: bytes) -> Decoded:
    """Decodes a whole stream, character by character."""
    text = stream.decode("utf-8", "replace")
    if text[:1] == "\ufeff":
        text = text[1:]
    lines = _lines(text)
    events, comments, retry, last_event_id = [], [], None, ""
    data = type = ""
    id = ""
    for line in lines:
        if line == "":
            last_event_id = id
            if data != "":
                events.append((type if type != "" else "message", data[:-1], last_event_id))
            data = type = ""
            continue
        if ":" in line:
            position = line.index(":")
            field, value = line[:position], line[position + 1 :]
            if position == 0:
                comments.append(value)
                continue
            if value != "" and value[0] == " ":
                value = value[1:]
        else:
            field, value = line, ""
        if field == "event":
            type = value
        if field == "data":
            data = data + value + "\n"
        if field == "id" and "\0" not in value:
            id = value
        if field == "retry" and value != "" and all(c in "0123456789" for c in value):
            retry = min(int(value), LONGEST)
    return Decoded(events, comments, retry, last_event_id)


def _lines(text: str) -> list[str]:
    """The lines that have ended."""
    lines, line, position = [], "", 0
    while position < len(text):
        character = text[position]
        position += 1
        if character in "\r\n":
            if character == "\r" and text[position : position + 1] == "\n":
                position += 1
            lines.append(line)
            line = ""
        else:
            line += character
    return lines
