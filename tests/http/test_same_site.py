"""The origin rule of cookies, as a table."""

from __future__ import annotations

import pytest

from roomcast.api.request import Head
from roomcast.http.same_site import check_same_site
from roomcast.model.errors import NotServed

NAMED = ("https://named.example", "*")


def is_let_in(method: str, scheme: str = "http", **fields: str) -> bool:
    """Whether a request with these fields is admitted; `sec_fetch_site` stands for `Sec-Fetch-Site`."""
    values = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    origin = {b"origin": values.pop(b"origin")} if "origin" in fields else {}
    head = Head(method, b"/messages", "/messages", b"", {b"host": b"app.example:8000", **origin})
    try:
        check_same_site(head, values, NAMED, scheme)
    except NotServed:
        return False
    return True


@pytest.mark.parametrize(
    ("fields", "get", "post"),
    [
        ({"sec_fetch_site": "same-origin"}, True, True),
        ({"sec_fetch_site": "none"}, True, True),
        ({"sec_fetch_site": "same-site"}, False, False),
        ({"sec_fetch_site": "cross-site"}, False, False),
        ({"sec_fetch_site": "of another time"}, False, False),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, False, False),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, True, False),
        ({"sec_fetch_site": "cross-site", "origin": "https://named.example"}, True, True),
        ({"sec_fetch_site": "cross-site", "origin": "http://app.example:8000"}, False, False),
        ({"origin": "http://app.example:8000"}, True, True),
        ({"origin": "https://app.example:8000"}, True, True),
        ({"origin": "HTTP://app.example:8000"}, False, False),
        ({"origin": "http://app.example"}, False, False),
        ({"origin": "http://evil.example"}, False, False),
        ({"origin": "*"}, False, False),
        ({"origin": "null"}, False, False),
        ({"origin": "http://app.example:8000", "x_forwarded_proto": "https"}, False, False),
        ({"origin": "https://app.example:8000", "x_forwarded_proto": "https"}, True, True),
        ({}, True, False),
    ],
    ids=str,
)
def test_a_cookie_is_accepted_from_the_sites_own_pages(fields: dict[str, str], get: bool, post: bool) -> None:
    assert is_let_in("GET", **fields) == is_let_in("HEAD", **fields) == get
    assert is_let_in("POST", **fields) == is_let_in("DELETE", **fields) == post


def test_a_page_over_http_is_not_a_https_sites_own() -> None:
    assert not is_let_in("POST", "https", origin="http://app.example:8000")
    assert is_let_in("POST", "https", origin="https://app.example:8000")
