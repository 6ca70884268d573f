"""The whole attack: its publishers, followers and intruders, its course, and its verdict."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from roomcast.torture.follower import Follower
from roomcast.torture.history import History
from roomcast.torture.intruder import Intruder
from roomcast.torture.publisher import Publisher
from roomcast.torture.record import Record
from roomcast.torture.space import check_space, max_messages, remove_rooms
from roomcast.torture.target import Target, Unusable, reason
from roomcast.torture.tickets import TicketHolder, TicketIssuer, TicketLifetimes

_INTRUDERS = 4

_BY_PREFIX = 0.15
"""The share of followers that follow all rooms of the attack by prefix."""
_NAMED_ROOMS = 64
"""With more rooms than this, nobody follows by prefix: a gap names no more rooms."""


@dataclass
class Plan:
    """The parameters of an attack."""

    seconds: float = 60
    followers: int = 100
    publishers: int = 4
    rooms: int = 8
    pause: float = 0.01
    """Seconds between two requests of a publisher, on average."""
    life: float = 3
    """Seconds between two cuts of a follower, on average."""
    patience: float = 60
    """Seconds that the attack waits for all followers to join, and for the last messages to reach them. The last
    publishes and the reads of the history are retried for as long."""
    overrun: bool = False
    """Whether the attack may cause messages of others to be trimmed."""
    deletes: bool = True
    """Whether publishers delete some of their messages, if the server lets them."""
    principals: int = 0
    """Number of principals. Each follower that names its rooms is one of them, and has its own tickets. A follower
    by prefix uses the credential of the attack. With 0, all followers use that."""
    lives: TicketLifetimes = field(default_factory=TicketLifetimes)
    """How long their tickets are valid."""
    seed: int = field(default_factory=lambda: secrets.randbits(32))


class Attack:
    """One attack, running or finished."""

    def __init__(self, target: Target, plan: Plan) -> None:
        self.record = Record()
        self.plan = plan
        self.begun = False
        """Whether the server was found, and the attack has begun."""
        self.cut_short = False
        """Whether it was ended before the verdict."""
        self._target = target
        self._history = History(target, self.record, plan.patience)
        self._begin = ""
        """The log's position before the attack."""
        random = Random(plan.seed)
        run = secrets.token_hex(4)
        # The last room is quiet, with one message in a hundred, so that its followers resume over long distances.
        self._rooms = [f"torture-{run}-{n}" for n in range(plan.rooms)]
        self._busy = [room for room in self._rooms[:-1] for _ in range(max(1, 100 // max(1, plan.rooms - 1)))]
        self.publishers = [
            Publisher(
                *(target, self.record, [*self._busy, self._rooms[-1]], f"{run}-p{n}", Random(random.random())),
                deletes=plan.deletes,
            )
            for n in range(plan.publishers)
        ]
        self._issuer = TicketIssuer(target, self.record, plan.lives)
        self._run = run
        self.followers = [self._follower(n, Random(random.random())) for n in range(plan.followers)]
        self.intruders = [
            Intruder(target, self.record, self._issuer, self._rooms, Random(random.random()))
            for _ in range(min(plan.principals, _INTRUDERS))
        ]

    def _follower(self, n: int, random: Random) -> Follower:
        if len(self._rooms) <= _NAMED_ROOMS and random.random() < _BY_PREFIX:
            prefix = self._rooms[0].rpartition("-")[0] + "-"
            return Follower(self._target, self.record, f"follower {n}", self._rooms, random, prefix=prefix)
        rooms = random.sample(self._rooms, min(len(self._rooms), random.choice((1, 1, 2, 3))))
        holder = None
        if principals := self.plan.principals:
            holder = TicketHolder(self._issuer, f"{self._run}-{n % principals}", rooms, random)
        return Follower(self._target, self.record, f"follower {n}", rooms, random, holder)

    def stop(self) -> None:
        """Stops publishing and cutting. The attack then only waits for the last message, and gives its verdict."""
        for publisher in self.publishers:
            publisher.stopped = True
        for follower in self.followers:
            follower.stop_cutting.set()

    async def run(self) -> None:
        """Runs the attack up to its verdict. Raises `Unusable` if no roomcast server answers, or if its log or its
        rights do not allow the attack."""
        await self._check_server()
        self.begun = True
        try:
            await self._attack()
        finally:
            await remove_rooms(self._target, self._rooms)

    async def _attack(self) -> None:
        until = asyncio.get_running_loop().time() + self.plan.seconds
        sent_at: dict[str, float] = {}
        for publisher in self.publishers:
            publisher.sent_at = sent_at
        following = [
            asyncio.create_task(follower.run(until, self.plan.life, sent_at)) for follower in self.followers
        ]
        intruding = [asyncio.create_task(intruder.run(until)) for intruder in self.intruders]
        try:
            await self._wait_until_joined(following)
            await asyncio.gather(*(publisher.run(until, self.plan.pause) for publisher in self.publishers))
            self.stop()
            await self._await_last_messages(following)
            self._raise_from(intruding)
        finally:
            for task in (*following, *intruding):
                task.cancel()
            await asyncio.gather(*following, *intruding, return_exceptions=True)
            for publisher in self.publishers:
                publisher.close()
        for follower in self.followers:
            follower.judge()
        await self._compare_history()

    async def _check_server(self) -> None:
        where = f"{self._target.host}:{self._target.port}"
        try:
            self._begin = await self._history.position(self._rooms[0])
            if self.plan.principals:
                await self._issuer.check(self._rooms[0])
            if not self.plan.overrun:
                await check_space(
                    self._target, max_messages(self.plan.seconds, self.plan.publishers, self.plan.pause)
                )
        except ssl.SSLCertVerificationError as error:
            raise Unusable(
                f"the certificate of {where} is not trusted ({error.verify_message}): name its issuer's file in "
                "the variable SSL_CERT_FILE"
            ) from None
        except (OSError, TimeoutError, ValueError) as error:
            raise Unusable(f"nothing answers at {where} ({reason(error)}): is the server running?") from None

    async def _wait_until_joined(self, following: Sequence[asyncio.Task[None]]) -> None:
        """Waits until each follower has a position: followers need not get what was published before that."""
        end = asyncio.get_running_loop().time() + self.plan.patience
        while not all(follower.transcript.last_id or follower.turned_away for follower in self.followers):
            self._raise_from(following)
            if asyncio.get_running_loop().time() > end:
                return
            await asyncio.sleep(0.01)

    async def _await_last_messages(self, following: Sequence[asyncio.Task[None]]) -> None:
        """Publishes a last message to each room, and waits until all followers of the room have it."""
        last: dict[str, int] = {}
        for room in self._rooms:
            if self.record.epoch_changed:
                return
            if not await self.publishers[0].publish(room, patience=self.plan.patience):
                self.record.violate(f"no publish to {room} was acknowledged for {self.plan.patience:.0f} s")
                return
            last[room] = self.record.newest(room)
        here = [follower for follower in self.followers if follower.transcript.joined or not follower.turned_away]
        reaching = [
            asyncio.create_task(follower.reach(max(last[room] for room in follower.transcript.rooms)))
            for follower in here
        ]
        if not reaching:
            return
        _, late = await asyncio.wait(reaching, timeout=self.plan.patience)
        self._raise_from(following)
        for task in late:
            task.cancel()
        for follower, task in zip(here, reaching, strict=True):
            # A full server may turn followers away for as long as it is full.
            if task in late and not follower.turned_away:
                name = follower.transcript.name
                self.record.violate(f"{name} was not caught up after {self.plan.patience:.0f} s")

    @staticmethod
    def _raise_from(tasks: Sequence[asyncio.Task[None]]) -> None:
        """Raises the error of a follower or intruder that failed, which is a defect of the attack itself."""
        for task in tasks:
            if task.done():
                task.result()

    async def _compare_history(self) -> None:
        """Checks the history. It must have each message that publishers or followers know, unless one of its own
        gaps names it. It must not have a message that a follower's gap named."""
        if self.record.epoch_changed:
            return
        try:
            for room in self._rooms:
                seqs = await self._history.read_forwards(room, self._begin)
                await self._history.check_backwards(room, seqs)
                for follower in self.followers:
                    for transcript in follower.transcripts:
                        transcript.judge_retained(room, seqs)
            self.record.judge_doubles(await self._history.retained())
        except (OSError, TimeoutError) as error:
            self.record.violate(f"the history cannot be read: {error or 'timed out'}")
        except (ValueError, KeyError, TypeError) as error:
            self.record.violate(f"the history is not what the contract says: {error!r}")
