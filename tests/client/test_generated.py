"""`client/blocking/` is what `client/awaiting/` makes of it."""

from __future__ import annotations

from tools import blocking


def test_the_blocking_half_is_what_the_asynchronous_one_makes() -> None:
    kept = {path: path.read_text() for path in blocking.TARGET.glob("*.py")}
    assert kept == blocking.generated(), "run make generate"


def test_a_statement_for_tasks_alone_is_left_out() -> None:
    source = "import b  # async only\n\n\nclass A:\n    def f(self):  # async only\n        b()\n\n    x = 1\n"
    left = blocking.blocking(source)
    assert ("b" not in left, "x = 1" in left) == (True, True)


def test_nothing_is_awaited_in_the_blocking_half() -> None:
    text = "".join(path.read_text() for path in blocking.TARGET.glob("*.py"))
    words = ("await ", "async ", "Async", "anyio", "awaiting.", " task", "coroutine")
    assert [word for word in words if word in text] == []
