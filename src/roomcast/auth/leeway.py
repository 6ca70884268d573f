"""How far the clocks of two machines may lie apart."""

from __future__ import annotations

LEEWAY_SECONDS = 30
"""Added to every time in a credential, whether it begins or ends something."""
