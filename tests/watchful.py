"""roomcast whose supervisor notices after a second, not 25 s, that a process hangs: a test cannot wait longer."""

from __future__ import annotations

PROGRAM = ("-P", __file__)
"""Python's arguments to run it. `-P` keeps tests/http from hiding the standard library's http."""

if __name__ == "__main__":
    from roomcast.serve.workers import watch

    watch.PING_SECONDS = 0.2
    from roomcast.cli.main import main

    main(prog_name="roomcast")
