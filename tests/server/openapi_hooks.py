"""Rules for Schemathesis that OpenAPI cannot express. Loaded by the run in `test_openapi`."""

from __future__ import annotations

from itertools import count
from typing import Any

import schemathesis
from schemathesis.generation import GenerationMode

from roomcast.model.message import MessageId

_numbers = count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Keeps what is valid by itself from being refused for what it stands beside: `since` with `replay`, an
    Idempotency-Key used before, a `before` out of another log, a name where rooms are sorted by ids."""
    if case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    if case.query and "replay" in case.query:
        case.query.pop("since", None)
    if case.query and case.query.get("sort") == "newest":
        case.query.pop("after", None)  # an id there, and a name elsewhere
    if case.query and MessageId.parse(str(case.query.get("before"))):
        del case.query["before"]
    if case.headers and case.headers.get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = f"{case.headers['Idempotency-Key'][:100]}{next(_numbers)}"
