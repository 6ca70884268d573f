"""`torture --rude`: runs attacks that cost their sender little, one by one, and checks if the server serves."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

from roomcast.torture.crowds import CROWDS
from roomcast.torture.space import check_space, remove_rooms
from roomcast.torture.target import Target, Unusable, reason
from roomcast.torture.witness import PAUSE, Observation, Witness

BOUND = 1.0
"""Seconds that a publish may take under attack, at the 99th percentile."""
_PAGE_MESSAGES, _PAGE_BYTES = 100, 2_000
"""The size of the page that the crowds request, and of its messages' texts."""


class AttackResult(NamedTuple):
    """The result of one crowd's attack."""

    name: str
    seen: Observation
    serves: bool
    """Whether a newcomer was answered, with the crowd still there."""
    memory: float | None
    """The server's memory in bytes under attack; None if it does not tell."""
    afterwards: float | None
    """The server's memory after the crowd has left."""

    @property
    def faults(self) -> list[str]:
        """Why the server did not withstand it; empty if it did."""
        seen = self.seen
        found = [] if self.serves else ["nobody was answered"]
        if not seen.publish_p99 <= BOUND:
            found.append(f"at least one in a hundred publishes took longer than {BOUND:.0f} s, or failed")
        if seen.lost:
            found.append(f"{seen.lost} acknowledged messages did not come")
        return found


class RudeAttack:
    """The attacks of all crowds, one after another, each for the same time."""

    def __init__(self, target: Target, seconds: float, *, allowed: bool) -> None:
        """`seconds` is the time for all of them together. With `allowed`, the user confirms that the server is
        their own, and that messages of others may be trimmed."""
        self.results: list[AttackResult] = []
        self.violations: Sequence[str] = ()
        self._target = target
        self._each = seconds / (len(CROWDS) + 1)
        self._allowed = allowed
        self._room = f"torture-{secrets.token_hex(4)}"

    async def run(self) -> None:
        """Runs all attacks. Raises `Unusable` before the first of them."""
        if not self._allowed:
            await self._check()
        witness = Witness(self._target, self._room)
        try:
            await self._fill()
            async with witness:
                try:
                    await self._attack(witness)
                finally:  # only here: judged before it has joined, the follower would count as a violation
                    self.violations = witness.judge()
        finally:
            await remove_rooms(self._target, [self._room, self._page])

    @property
    def faulty(self) -> bool:
        """Whether the server did not withstand one of them."""
        return bool(self.violations) or any(result.faults for result in self.results)

    @property
    def _page(self) -> str:
        return f"{self._room}-page"

    async def _check(self) -> None:
        if not _is_here(self._target.host):
            raise Unusable(
                f"{self._target.host} is not this machine, and others may lose their service: attack a server of "
                "your own, and say so with --yes"
            )
        try:
            messages = round(self._each * (len(CROWDS) + 1) / PAUSE) + _PAGE_MESSAGES * _PAGE_BYTES // 150
            await check_space(self._target, messages)
        except (OSError, TimeoutError, ValueError) as error:
            raise Unusable(f"nothing answers there ({reason(error)}): is the server running?") from None

    async def _fill(self) -> None:
        """Fills a room with a page that the crowds request."""
        text = "x" * _PAGE_BYTES
        body = ",".join([f'{{"room":"{self._page}","text":"{text}"}}'] * _PAGE_MESSAGES)
        try:
            connection = await self._target.connect()
            try:
                fields = {"Content-Type": "application/json"}
                await connection.send("POST", "/messages", fields, f"[{body}]".encode())
                answer = await connection.answer()
            finally:
                connection.cut()
        except (OSError, TimeoutError, ValueError) as error:
            raise Unusable(f"nothing answers there ({reason(error)}): is the server running?") from None
        if answer.status != 201:
            raise Unusable(f"a publish is answered with {answer.status}: is a --header missing?")

    async def _attack(self, witness: Witness) -> None:
        memory = await witness.memory()
        self.results.append(
            AttackResult("nobody else", await witness.watch(self._each), await witness.serves(), memory, memory)
        )
        for name, crowd in CROWDS.items():
            attacking = asyncio.ensure_future(crowd(self._target, self._page))
            try:
                seen = await witness.watch(self._each)
                serves, memory = await witness.serves(), await witness.memory()
            finally:
                attacking.cancel()
                await asyncio.gather(attacking, return_exceptions=True)
            self.results.append(AttackResult(name, seen, serves, memory, await witness.memory()))
            if not serves and not await witness.serves():
                return  # the server is down: nothing is left to attack


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.removeprefix("::ffff:")).is_loopback
    except ValueError:
        return False


def table(results: Sequence[AttackResult]) -> list[str]:
    """Returns the lines of a table, with a line for each of `results`."""
    lines = [
        f"{'attacked by':<38}{'publish p99':>13}{'delivery p99':>14}{'failed':>8}{'lost':>6}{'MB':>7}{'after':>7}"
    ]
    for result in results:
        seen = result.seen
        lines.append(
            f"{result.name:<38}{_ms(seen.publish_p99):>13}{_ms(seen.delivery_p99):>14}{seen.failed:>8}{seen.lost:>6}"
            f"{_mb(result.memory):>7}{_mb(result.afterwards):>7}"
        )
    return lines


def verdict(rude: RudeAttack) -> list[str]:
    """Returns the lines of the verdict on the finished attack `rude`."""
    failed = [f"  {result.name}: {fault}" for result in rude.results for fault in result.faults]
    broken = [f"  {what}" for what in rude.violations]
    if not failed and not broken:
        return [f"It served throughout: 99 of 100 publishes took less than {BOUND:.0f} s, and nothing was lost."]
    return ["It did not withstand the attack:", *failed, *broken]


def _ms(seconds: float) -> str:
    return "-" if math.isinf(seconds) else f"{seconds * 1000:.1f} ms"


def _mb(size: float | None) -> str:
    return "-" if size is None else f"{size / 1e6:.0f}"
