"""roomcast with tickets that expire soon. A test cannot wait for the real leeway of 30 s, nor for the minute in
which a ticket opens streams."""

from __future__ import annotations

import os

PROGRAM = ("-P", __file__)
"""Python's arguments to run it. `-P` keeps tests/http from hiding the standard library's http."""
LEEWAY, OPENS = "ROOMCAST_TEST_LEEWAY", "ROOMCAST_TEST_OPENS"
"""Variables with the two times in seconds; by default 0 and 60."""
BROKEN = "ROOMCAST_TEST_BROKEN"
"""A variable with the name of a check that the server leaves out, which an attack must find."""

if __name__ == "__main__":
    from roomcast.auth import tickets

    setattr(tickets, "LEEWAY_SECONDS", int(os.environ.get(LEEWAY, "0")))  # noqa: B010
    tickets.OPENS_SECONDS = int(os.environ.get(OPENS, "60"))
    match os.environ.get(BROKEN):
        case "signature":
            tickets.hmac.compare_digest = lambda a, b: True  # type: ignore[attr-defined]
        case "opens":
            setattr(tickets.Ticket, "may_open", lambda self, now: True)  # noqa: B010
        case "ends":
            setattr(tickets.Ticket, "until", property(lambda self: self.ends + 1_000))  # noqa: B010
        case "rooms":
            from roomcast.auth import permit

            permit.permit = lambda *args, **kwargs: None
    from roomcast.cli.main import main

    main(prog_name="roomcast")
