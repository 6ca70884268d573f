"""What the API has, by path and method."""

from __future__ import annotations

from collections.abc import Mapping

from roomcast.api import delete, follow, followers, health, history, me, post, publish, revocations, rooms, tickets
from roomcast.api.request import Head, Route

Routes = Mapping[str, Mapping[str, Route]]
"""By path, where `{name}` at the end stands for one segment, and `{room}` for all that is left; then by method. A
`GET` serves `HEAD` as well."""
ALIASES = {"/messages/": "/messages"}
"""What clients of the original example may ask for."""


def last_segment(head: Head) -> str:
    """What stands in a path for its `{name}`."""
    return head.path.rpartition("/")[2]


_PUBLISH = Route(publish.publish, admits=publish.idempotency_key, takes_body=True, needs="publish")

ROUTES: Routes = {
    "/messages": {
        "GET": Route(follow.follow, follow.following, needs="read", takes_ticket=True, away=follow.away),
        "POST": _PUBLISH._replace(asks=publish.envelope),
    },
    "/messages/{id}": {
        "GET": Route(history.message, last_segment),
        "DELETE": Route(delete.message, last_segment, needs="admin"),
    },
    "/rooms": {"GET": Route(rooms.rooms, rooms.listing, needs="read")},
    "/rooms/{room}": {
        "POST": _PUBLISH._replace(asks=post.envelope),
        "DELETE": Route(delete.whole_room, delete.room, needs="admin"),
    },
    "/followers": {"GET": Route(followers.followers, followers.listing, needs="admin")},
    "/me": {"GET": Route(me.me)},
    "/tickets": {"POST": Route(tickets.issue, tickets.envelope, tickets.check_asker, takes_body=True)},
    "/revocations": {
        "POST": Route(
            *(revocations.revoke, revocations.envelope, revocations.check_looks), takes_body=True, needs="admin"
        )
    },
    "/healthz": {"GET": Route(health.healthz, asks_who=False)},
    "/readyz": {"GET": Route(health.readyz, by_key_only=True)},
}
