"""Durations as options, written as in the server's own options: `15m`."""

from __future__ import annotations

from typing import Any

import click

from roomcast.model.settings.units import parse_seconds


class Duration(click.ParamType[float]):
    """Converts a text such as 90, 15m or 1h30m to seconds."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the seconds of `value`. Raises `click.BadParameter` if it is not a duration; `param` and `ctx`
        name the option in it."""
        try:
            return parse_seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
