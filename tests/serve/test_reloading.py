"""SIGHUP with several processes: new settings come into force at all of them, or at none."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roomcast.model.settings import Settings
from roomcast.serve.configuration import Configuration
from roomcast.serve.reload import Change, Reload, Reloadable
from roomcast.serve.workers.child import Child
from roomcast.serve.workers.orders import Apply, Channel, Forget, Order, Prepare, Report, Verdict
from roomcast.serve.workers.reloading import Reloading


class Servers:
    """A supervisor's reload, and the far ends of two processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.children: dict[int, Child] = {}
        self.ends: dict[int, Channel[Report, Order]] = {}
        for number in (0, 1):
            self.start(number)
        self.applied: list[float] = []
        self.own: list[float] = []
        self.fails = False
        self.write("heartbeat = 5")
        reload = Reload(Configuration({}, {}, str(path)), [Reloadable("it", ("heartbeat",), self._prepare)])
        self.reloading = Reloading(reload, self.children, lambda new: self.applied.append(new.heartbeat))

    def start(self, number: int, ready: bool = True) -> None:
        """A process, in the place of an earlier one."""
        if number in self.children:
            self.children.pop(number).channel.close()
            self.ends.pop(number).close()
        ours, self.ends[number] = Channel.pair()
        self.children[number] = Child(number, os.getpid(), ours)
        self.children[number].ready = ready

    def write(self, text: str) -> None:
        self.path.write_text(f"{text}\n")

    def received(self) -> list[list[Order]]:
        """The orders that each process has received since the last call."""
        return [[order for order, _ in end.receive()] for _, end in sorted(self.ends.items())]

    def begin(self, heartbeat: int, now: float = 0.0) -> int:
        """Requests a reload; returns its number."""
        self.write(f"heartbeat = {heartbeat}")
        self.reloading.request()
        self.reloading.turn(now)
        [first, *_] = [orders[-1] for orders in self.received()]
        assert isinstance(first, Prepare)
        assert first.settings.heartbeat == heartbeat
        return first.number

    def answer(self, process: int, number: int, refused: str = "") -> None:
        self.reloading.hear(self.children[process], Verdict(number, refused))
        self.reloading.turn(1.0)

    def _prepare(self, settings: Settings) -> Change:
        if self.fails:
            raise ZeroDivisionError
        return lambda: self.own.append(settings.heartbeat)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    servers = Servers(tmp_path / "roomcast.toml")
    yield servers
    for end in servers.ends.values():
        end.close()
    for child in servers.children.values():
        child.channel.close()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "roomcast.server")
    return lambda: caplog.messages


def test_settings_are_applied_when_the_last_process_has_accepted(servers: Servers) -> None:
    number = servers.begin(7)
    servers.answer(0, number)
    assert (servers.received(), servers.applied) == ([[], []], [])
    servers.answer(1, number)
    assert servers.received() == [[Apply()], [Apply()]]
    assert servers.applied == servers.own == [7.0]
    assert servers.reloading.until is None


def test_one_refusal_is_enough_and_an_older_answer_does_not_count(
    servers: Servers, said: Callable[[], list[str]]
) -> None:
    older = servers.begin(7)
    servers.answer(0, older, "no such key")
    assert said() == ["the configuration stays as it was: no such key"]
    assert servers.received() == [[Forget()], [Forget()]]
    number = servers.begin(8)
    servers.answer(0, older)
    servers.answer(1, number)
    assert servers.applied == []
    servers.answer(0, number)
    assert servers.applied == [8.0]


def test_a_process_that_does_not_answer_refuses_after_ten_seconds(
    servers: Servers, said: Callable[[], list[str]]
) -> None:
    number = servers.begin(7)
    servers.answer(0, number)
    until = servers.reloading.until
    assert until == 10.0
    servers.reloading.turn(until - 0.1)
    assert said() == []
    servers.reloading.turn(until)
    assert said() == ["the configuration stays as it was: worker 1 did not answer, try again"]


def test_a_process_that_has_ended_is_not_waited_for(servers: Servers) -> None:
    servers.answer(0, servers.begin(7))
    child = servers.children.pop(1)
    servers.reloading.leave(child)
    servers.reloading.turn(1.0)
    child.channel.close()
    assert servers.applied == [7.0]


def test_a_process_that_starts_meanwhile_is_asked_too_once_it_is_ready(servers: Servers) -> None:
    servers.answer(0, servers.begin(7))
    servers.reloading.restart()
    servers.start(1, ready=False)
    servers.reloading.turn(2.0)
    assert servers.received() == [[Forget()], []]
    servers.children[1].ready = True
    servers.reloading.turn(3.0)
    [[first], [second]] = servers.received()
    assert isinstance(first, Prepare)
    assert first == second
    for process in (0, 1):
        servers.answer(process, first.number)
    assert servers.applied == [7.0]


def test_a_mistake_in_the_file_and_a_bug_change_nothing(servers: Servers, said: Callable[[], list[str]]) -> None:
    servers.write("heartbeat = never")
    servers.reloading.request()
    servers.reloading.turn(0.0)
    servers.fails = True
    servers.write("heartbeat = 7")
    servers.reloading.request()
    servers.reloading.turn(0.0)
    first, second = said()
    assert first.startswith("the configuration stays as it was: ")
    assert second == "the configuration could not be read again, and stays as it was"
    assert servers.received() == [[Forget()], [Forget()]]
    servers.fails = False
    assert servers.begin(8)
