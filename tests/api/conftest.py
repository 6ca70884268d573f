"""An engine over a log in memory, and the state that its connections share."""

from __future__ import annotations

from tests.http.conftest import context, engine

__all__ = ["context", "engine"]
