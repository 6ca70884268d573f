"""The head of a request, from its request line."""

from __future__ import annotations

import pytest

from roomcast.api.request import Head


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/messages?room=a/b#c?d", "/messages", "room=a/b"),
        ("http://host/messages?room=a/b#c?d", "/messages", "room=a/b"),
        ("HTTPS://user@host:1/messages?room=a", "/messages", "room=a"),
        ("http://host", "/", ""),
        ("http://host/", "/", ""),
        ("http://host?room=a/b", "/", "room=a/b"),
        ("http://host?", "/", ""),
        ("http://host#a/b?c", "/", ""),
        ("/messages?room=http://host/a", "/messages", "room=http://host/a"),
        ("//host/messages", "//host/messages", ""),
        ("*", "*", ""),
    ],
)
def test_a_target_in_absolute_form_has_the_path_and_query_after_its_host(
    target: str, path: str, query: str
) -> None:
    head = Head.of("GET", target.encode(), {})
    assert (head.target, head.path, head.query) == (target.encode(), path, query.encode())
