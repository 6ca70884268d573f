"""The attack with principals: each follows its own rooms with tickets, and intruders get in nowhere."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from roomcast.auth.keys import sha256
from roomcast.torture.attack import Attack, Plan
from roomcast.torture.intruder import KINDS
from roomcast.torture.target import Target, Unusable
from roomcast.torture.tickets import TicketLifetimes
from tests import hasty
from tests.cli.shell import run
from tests.conftest import Serve
from tests.running import PATIENCE, Running, start_roomcast, wait_for

KEY = "rck_torture_" + 43 * "k"
OLD, NEW = "0123456789abcdefghijklmnopqrstuvwxyz", "zyxwvutsrqponmlkjihgfedcba9876543210"
LIVES = TicketLifetimes(short=1, long=60, leeway=1)


class Guarded:
    """A server with rights, whose tickets expire soon. A second `start` uses the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = 0
        self.running: Running
        for name, secret in (("old", OLD), ("new", NEW)):
            (folder / name).write_text(secret)

    def start(self, *secrets: str, broken: str = "") -> None:
        files = [str(self._folder / name) for name in secrets]
        (self._folder / "roomcast.toml").write_text(
            f'secret_files = {files}\n[[key]]\nname = "torture"\nsha256 = "{sha256(KEY)}"\n'
            'read = ["*"]\npublish = ["*"]\nmetrics = true\n'
        )
        options = ("--port", str(self._port), "--no-access-log", "--config", str(self._folder / "roomcast.toml"))
        times = {hasty.LEEWAY: "1", hasty.OPENS: "2", hasty.BROKEN: broken}
        self.running = start_roomcast(self._folder, *options, env=times, program=hasty.PROGRAM)
        self._port = self.running.port

    @property
    def target(self) -> Target:
        return Target.parse(self.running.url, (("Authorization", f"Bearer {KEY}"),))


def plan(**changes: Any) -> Plan:
    few = Plan(followers=100, publishers=2, pause=0.05, life=3, patience=PATIENCE, lives=LIVES)
    return Plan(**{**vars(few), **changes})


async def tries(attack: Attack, each: int) -> None:
    """Waits until the running server has refused each kind of break-in `each` more times, and has ended ten
    times as many streams whose tickets expired."""
    counted = [intruder.tried.copy() for intruder in attack.intruders]

    def tried(kind: str) -> int:
        return sum(i.tried[kind] - before[kind] for i, before in zip(attack.intruders, counted, strict=True))

    renewals = attack.record.counts["renewals"] + 10 * each

    def all_tried() -> bool:
        done = attack.record.counts["renewals"] >= renewals and all(tried(kind) >= each for kind in KINDS)
        return done or bool(attack.record.violations)

    await asyncio.to_thread(wait_for, all_tried, "every kind of break-in", 2 * PATIENCE)


async def test_a_drain_a_kill_and_a_rotation_let_in_100_principals_and_nobody_else(
    tmp_path: Path,
) -> None:
    guarded = Guarded(tmp_path)
    await asyncio.to_thread(guarded.start, "old")
    attack = Attack(guarded.target, plan(seconds=300, principals=100))
    running = asyncio.create_task(attack.run())
    try:
        await tries(attack, 1)
        for end, secrets in (
            (Running.terminate, ["old"]),
            (Running.kill, ["old"]),
            (Running.terminate, ["new", "old"]),
        ):
            await asyncio.to_thread(end, guarded.running)
            await asyncio.to_thread(guarded.start, *secrets)
            await tries(attack, 1)
        attack.stop()
        await running
    finally:
        running.cancel()
        guarded.running.kill()
    counts = attack.record.counts
    assert attack.record.violations == [], attack.plan
    assert counts["tickets"] > 200
    assert "Traceback" not in guarded.running.said()
    assert "rct1_" not in guarded.running.said()


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("signature", r"let in \((flipped bit|another secret)\)"),
        ("opens", r"let in \(replayed\)"),
        ("ends", r"let in \(expired\)"),
        ("rooms", r"let in \(wrong room\)"),
    ],
)
async def test_a_server_that_leaves_out_a_check_is_found_out(tmp_path: Path, broken: str, words: str) -> None:
    guarded = Guarded(tmp_path)
    await asyncio.to_thread(guarded.start, "old", broken=broken)
    attack = Attack(guarded.target, plan(seconds=300, principals=10, followers=10))
    running = asyncio.create_task(attack.run())

    def found() -> bool:
        return any(re.search(words, said) for said in attack.record.violations)

    try:
        await asyncio.to_thread(wait_for, found, f"{words} in {attack.record.violations}")
    finally:
        running.cancel()
        guarded.running.kill()
        await asyncio.gather(running, return_exceptions=True)


async def test_an_attack_with_principals_says_what_it_lacks(tmp_path: Path, serve: Serve) -> None:
    guarded = Guarded(tmp_path)
    await asyncio.to_thread(guarded.start)
    try:
        with pytest.raises(Unusable, match=r"POST /tickets is answered with 501: .*needs --secret-file"):
            await Attack(guarded.target, plan(principals=1)).run()
        with pytest.raises(Unusable, match="no ROOMCAST_TOKEN or --header is missing"):
            await Attack(guarded.target.without_credential(), plan(principals=1)).run()
    finally:
        guarded.running.kill()
    (tmp_path / "open.toml").write_text(
        (tmp_path / "roomcast.toml").read_text().replace("[]", f"['{tmp_path}/old']")
    )
    public = await asyncio.to_thread(serve, "--config", str(tmp_path / "open.toml"), "--anonymous", "read:*")
    target = Target.parse(public.url, guarded.target.headers)
    with pytest.raises(Unusable, match="where strangers may read every room"):
        await Attack(target, plan(principals=1)).run()


def test_the_command_attacks_with_principals_and_shows_what_was_kept_out(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path)
    guarded.start("old")
    try:
        few = ("--principals=5", "--followers=5", "--publishers=1", "--minutes=0.04")
        done = run("torture", guarded.running.url, *few, ROOMCAST_TOKEN=KEY)
    finally:
        guarded.running.kill()
    assert done.returncode == 0, done
    for name in ("tickets", "kept out"):
        assert re.search(rf"^ +[1-9]\d*  {name}", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("\nNo promise was broken.\n")
