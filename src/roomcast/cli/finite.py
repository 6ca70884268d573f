"""Numbers as options."""

from __future__ import annotations

import math
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A range without `nan`, which lies in every range of click's: a timer of `nan` never fires."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the number in `value`. Raises `click.BadParameter` unless it is finite and in the range; `param`
        and `ctx` name the option in it."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number: write it as 1.5", param, ctx)
        return number
