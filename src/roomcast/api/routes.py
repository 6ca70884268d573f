"""The API's routes, by path and method."""

from __future__ import annotations

from collections.abc import Mapping

from roomcast.api import delete, follow, followers, health, history, me, post, publish, revocations, rooms, tickets
from roomcast.api.request import Head, Route

Routes = Mapping[str, Mapping[str, Route]]
"""By path, then by method. At the end of a path, `{room}` stands for the rest, and `{id}` or `{name}` for one
segment. A `GET` also serves `HEAD`."""
ALIASES = {"/messages/": "/messages"}
"""Paths that some clients request, with the route each stands for."""


def _last_segment(head: Head) -> str:
    """The segment of a path that `{id}` stands for."""
    return head.path.rpartition("/")[2]


_PUBLISH = Route(publish.publish, check=publish.idempotency_key, takes_body=True, needs="publish")

ROUTES: Routes = {
    "/messages": {
        "GET": Route(
            follow.follow, follow.following, needs="read", takes_ticket=True, retry_later=follow.retry_later
        ),
        "POST": _PUBLISH._replace(parse=publish.envelope),
    },
    "/messages/{id}": {
        "GET": Route(history.message, _last_segment),
        "DELETE": Route(delete.message, _last_segment, needs="admin"),
    },
    "/rooms": {"GET": Route(rooms.rooms, rooms.parse_query, needs="read")},
    "/rooms/{room}": {
        "POST": _PUBLISH._replace(parse=post.envelope),
        "DELETE": Route(delete.whole_room, delete.parse_room, needs="admin"),
    },
    "/followers": {"GET": Route(followers.followers, followers.parse_query, needs="admin")},
    "/me": {"GET": Route(me.me)},
    "/tickets": {"POST": Route(tickets.issue, tickets.check_head, tickets.check_client, takes_body=True)},
    "/revocations": {
        "POST": Route(
            *(revocations.revoke, revocations.check_head, revocations.check_mode), takes_body=True, needs="admin"
        )
    },
    "/healthz": {"GET": Route(health.healthz, needs_principal=False)},
    "/readyz": {"GET": Route(health.readyz, by_key_only=True)},
}
