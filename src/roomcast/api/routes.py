"""What the API has, by path and method."""

from __future__ import annotations

from collections.abc import Mapping

from roomcast.api import delete, follow, health, history, post, publish, rooms
from roomcast.api.request import Head, Route

Routes = Mapping[str, Mapping[str, Route]]
"""By path, where `{name}` at the end stands for one segment, and `{room}` for all that is left; then by method. A
`GET` serves `HEAD` as well."""
ALIASES = {"/messages/": "/messages"}
"""What clients of the original example may ask for."""


def last_segment(head: Head) -> str:
    """What stands in a path for its `{name}`."""
    return head.path.rpartition("/")[2]


ROUTES: Routes = {
    "/messages": {
        "GET": Route(follow.follow, follow.following),
        "POST": Route(publish.publish, publish.envelope, publish.idempotency_key, takes_body=True),
    },
    "/messages/{id}": {
        "GET": Route(history.message, last_segment),
        "DELETE": Route(delete.message, last_segment),
    },
    "/rooms": {"GET": Route(rooms.rooms, rooms.listing)},
    "/rooms/{room}": {
        "POST": Route(publish.publish, post.envelope, publish.idempotency_key, takes_body=True),
        "DELETE": Route(delete.whole_room, delete.room),
    },
    "/healthz": {"GET": Route(health.healthz)},
    "/readyz": {"GET": Route(health.readyz)},
}
