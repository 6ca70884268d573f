"""`roomcast torture --rude`: it reports a server that does not withstand it, and no other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from roomcast.torture import rude as rudely
from roomcast.torture import witness
from roomcast.torture.crowds import CROWDS
from roomcast.torture.rude import BOUND, AttackResult, RudeAttack
from roomcast.torture.target import RawAnswer, Target, Unusable
from roomcast.torture.witness import Observation
from tests.conftest import Serve
from tests.hardening import faulty_server
from tests.running import free_port, start_roomcast


def rude(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "roomcast", "torture", "--rude", "--minutes=0.12", *options, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def test_a_server_withstands_all_attacks_and_is_left_as_it_was(tmp_path: Path) -> None:
    """The server has fewer files than there are silent connections, and 16 MiB each for bodies and answers."""
    server = start_roomcast(tmp_path, "--no-access-log", "--body-memory=16MiB", "--answer-memory=16MiB", files=400)
    try:
        done = rude(server.url)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert all(f"\n{name} " in done.stdout for name in CROWDS)
        assert "\nIt served throughout" in done.stdout
        assert server.metric('roomcast_connections_closed_total{reason="files"}') > 0
        assert server.metric('roomcast_connections_closed_total{reason="memory"}') > 0
        assert 'status="431"' in server.get("/metrics").text
        assert "Traceback" not in server.said()
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("server", "lies"),
    [(faulty_server.Honest, False), (faulty_server.LosesAcknowledged, True), (faulty_server.Stalls, True)],
)
async def test_the_witnesses_notice_messages_that_do_not_come(
    monkeypatch: pytest.MonkeyPatch, server: type[faulty_server.Honest], lies: bool
) -> None:
    monkeypatch.setattr(witness, "PATIENCE", 2.0)
    monkeypatch.setattr(witness, "PAUSE", 0.002)
    async with server().serve() as url:
        witnesses = witness.Witness(Target.parse(url), "a")
        async with witnesses:
            seen = await witnesses.watch(2)
    assert seen.published > 5
    assert seen.failed == 0
    assert seen.delivery_p99 < 2
    assert (bool(seen.lost) or witnesses.judge() != []) == lies


@pytest.mark.parametrize(
    ("seen", "serves", "faults"),
    [
        (Observation(100, 0, BOUND, 0.1, 0), True, []),
        (Observation(100, 0, BOUND + 0.1, 0.1, 0), True, ["at least one in a hundred publishes took longer"]),
        (Observation(0, 0, float("inf"), 0.1, 0), True, ["at least one in a hundred publishes took longer"]),
        (Observation(100, 0, 0.1, 0.1, 3), True, ["3 acknowledged messages did not come"]),
        (Observation(100, 0, 0.1, 0.1, 0), False, ["nobody was answered"]),
    ],
)
def test_an_attack_that_the_server_did_not_withstand_is_named(
    seen: Observation, serves: bool, faults: list[str]
) -> None:
    found = AttackResult("x", seen, serves, None, None).faults
    assert len(found) == len(faults)
    assert all(one.startswith(words) for one, words in zip(found, faults, strict=True))


def test_a_server_elsewhere_is_left_alone_without_a_confirmation() -> None:
    done = rude("http://192.0.2.1:8080")
    assert done.returncode == 2
    assert "attack a server of your own, and say so with --yes" in done.stderr


async def test_messages_of_others_are_not_trimmed_without_a_confirmation(serve: Serve) -> None:
    server = serve("--max-messages=10")
    server.publish("precious")
    with pytest.raises(Unusable, match="--yes"):
        await RudeAttack(Target.parse(server.url), 1, allowed=False).run()
    assert server.metric("roomcast_log_newest") == 1


async def test_a_server_whose_memory_is_no_number_does_not_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def get(self: Target, path: str, accept: str) -> RawAnswer:
        return RawAnswer(200, b"process_resident_memory_bytes much\n")

    monkeypatch.setattr(Target, "get", get)
    assert await witness.Witness(Target("x", 1, False, ""), "a").memory() is None


async def test_a_follower_that_could_not_join_before_the_attack_is_no_violation() -> None:
    attack = RudeAttack(Target.parse(f"http://127.0.0.1:{free_port()}"), 1, allowed=True)
    with pytest.raises(Unusable, match="is the server running"):
        await attack.run()
    assert not attack.violations


async def test_an_attack_that_is_interrupted_is_judged_by_what_its_witness_saw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Follows(witness.Witness):
        async def __aenter__(self) -> witness.Witness:
            self._following = asyncio.create_task(asyncio.Event().wait())  # type: ignore[arg-type]
            self.record.violate("it lost a message")
            self._follower.turned_away = True
            return self

    async def nothing(*_: object) -> None:
        pass

    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rudely, "Witness", Follows)
    monkeypatch.setattr(rudely, "remove_rooms", nothing)
    monkeypatch.setattr(RudeAttack, "_fill", nothing)
    monkeypatch.setattr(RudeAttack, "_attack", interrupted)
    attack = RudeAttack(Target("x", 1, False, ""), 1, allowed=True)
    with pytest.raises(KeyboardInterrupt):
        await attack.run()
    assert attack.violations == ["it lost a message"]
