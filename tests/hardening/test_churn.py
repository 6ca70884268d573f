"""Followers that come, go and resume while the log trims fast: each gap is told, and none that is none."""

from __future__ import annotations

from roomcast.torture.attack import Attack, Plan
from roomcast.torture.target import Target
from tests.conftest import Serve


async def test_500_that_come_and_go_while_the_log_trims_hear_exact_gaps(serve: Serve) -> None:
    """In busy rooms, where most of them lose something, and in a quiet one, where a server that looked at the
    whole log's trimming would tell of gaps that are none."""
    server = serve("--max-messages=100", "--no-access-log")
    attack = Attack(Target.parse(server.url), Plan(seconds=7, followers=500, rooms=12, pause=0.04, life=2))
    await attack.run()
    assert attack.record.violations == [], attack.plan
    assert attack.record.counts["gaps"] > 50
    in_quiet = [f.heard for f in attack.followers if len(f.heard.rooms) == 1 and f.heard.rooms[0].endswith("-11")]
    assert any(heard.seqs[heard.rooms[0]] and not heard.gaps for heard in in_quiet)
