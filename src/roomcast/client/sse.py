"""Follows any server's event stream: `connect` and, for an event loop, `aconnect`.

    with connect("https://example.com/events") as source:
        for event in source:
            print(event.type, event.data, event.id)

Both reconnect and resume by WHATWG HTML, section 9.2, until the server says that the stream is over (`204`, which
ends the loop), the answer is no event stream (which raises), or the caller leaves. The socket is read only when
the caller asks for more, never ahead: at most one read of it is in memory at a time.
"""

from __future__ import annotations

from roomcast.client.awaiting.sse import AsyncConnectOptions, AsyncEventSource, aconnect
from roomcast.client.blocking.sse import ConnectOptions, EventSource, connect
from roomcast.client.decode import Comment, Endless, Event
from roomcast.client.errors import Refused
from roomcast.client.stream_state import Pause

__all__ = [
    "AsyncConnectOptions",
    "AsyncEventSource",
    "Comment",
    "ConnectOptions",
    "Endless",
    "Event",
    "EventSource",
    "Pause",
    "Refused",
    "aconnect",
    "connect",
]
