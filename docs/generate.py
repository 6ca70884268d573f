"""Generates reference pages from the code: every option, and every route of the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from roomcast.api.openapi import document
from roomcast.model.settings import OPTIONS

NOTE = "This page is generated from the code."


def write(folder: Path) -> None:
    """Writes the pages to `folder`. An unchanged page keeps its time, so that Sphinx does not build it again."""
    folder.mkdir(exist_ok=True)
    for name, lines in (("options", _options()), ("openapi", _routes(document("", ())))):
        text = "\n".join(lines) + "\n"
        file = folder / f"{name}.md"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


def _options() -> Iterator[str]:
    yield from ("# Options", "", f"{NOTE} [More about each option](../api.md#options).", "")
    for option in OPTIONS.values():
        yield from (f"## `{option.flag}`", "", option.help, "")
        yield f"- variable: `{option.variable}`"
        yield f"- in the file: `{option.name}`"
        if option.default not in (None, "", ()):
            yield f"- default: `{option.default}`"
        yield ""


def _routes(document: Mapping[str, Any]) -> Iterator[str]:
    yield from ("# Every route", "", f"{NOTE} A running server describes the same to programs at `/openapi.json`,")
    yield from ("and [the API](../api.md) to people.", "")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in ("get", "post", "delete"):
                yield from _operation(f"{method.upper()} {path}", operation)
    yield from ("## Shapes", "", "The objects that bodies consist of.", "")
    for name, shape in document["components"]["schemas"].items():
        yield from (f"### {name}", "", shape.get("description", ""), "")
        yield from _fields(shape)


def _operation(title: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"## `{title}`", "", operation.get("summary", ""), "")
    if rows := [_parameter(parameter) for parameter in operation.get("parameters", ())]:
        yield from ("| parameter | in | |", "| --- | --- | --- |", *rows, "")
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield from (f"Body, `{kind}`:", "")
        yield from _fields(content["schema"])
    yield from ("| status | |", "| --- | --- |")
    for status, response in operation["responses"].items():
        yield f"| {status} | {_cell(response.get('description') or response.get('$ref', ''))} |"
    yield ""


def _parameter(parameter: Mapping[str, Any]) -> str:
    return f"| `{parameter['name']}` | {parameter['in']} | {_cell(parameter.get('description', ''))} |"


def _fields(shape: Mapping[str, Any]) -> Iterator[str]:
    fields = shape.get("properties", {})
    if not fields:
        yield from (f"{_kind(shape)}", "")
        return
    yield from ("| field | type | |", "| --- | --- | --- |")
    for name, field in fields.items():
        optional = "" if name in shape.get("required", ()) else ", may be left out"
        yield f"| `{name}` | {_kind(field)}{optional} | {_cell(field.get('description', ''))} |"
    yield ""


def _kind(shape: Mapping[str, Any]) -> str:
    """The type of a schema in a word or two."""
    if "$ref" in shape:
        return str(shape["$ref"].rpartition("/")[2])
    for word in ("anyOf", "oneOf"):
        if word in shape:
            return " or ".join(dict.fromkeys(_kind(one) for one in shape[word]))
    if "enum" in shape:
        return ", ".join(f"`{value}`" for value in shape["enum"])
    if shape.get("type") == "array":
        return f"array of {_kind(shape.get('items', {}))}"
    return str(shape.get("type", "any"))


def _cell(text: str) -> str:
    """A text for a cell of a table: line feeds and bars are escaped, and a reference becomes its name."""
    return text.rpartition("/")[2] if text.startswith("#/") else text.replace("|", "\\|").replace("\n", " ")
