"""The allowed difference between the clocks of two machines."""

from __future__ import annotations

LEEWAY_SECONDS = 30
"""Tolerance for every time in a credential, at its beginning and at its end."""
