"""roomcast whose supervisor finds out after a second that a process hangs: 25 s are more than a test can wait."""

from __future__ import annotations

PROGRAM = ("-P", __file__)
"""Python's arguments to run it: `-P`, so that tests/http is not taken for the library's http."""

if __name__ == "__main__":
    from roomcast.serve.workers import watch

    watch.PING_SECONDS = 0.2
    from roomcast.cli.main import main

    main(prog_name="roomcast")
