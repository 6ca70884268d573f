"""Followers that come, go and resume while the log trims fast: each gap is told, and none that is none."""

from __future__ import annotations

from roomcast.torture.attack import Attack, Plan
from roomcast.torture.target import Target
from tests.conftest import Serve


async def test_500_that_come_and_go_while_the_log_trims_hear_exact_gaps(serve: Serve) -> None:
    server = serve("--max-messages=200", "--no-access-log")
    plan = Plan(seconds=8, followers=500, publishers=4, rooms=12, pause=0.04, life=2)
    attack = Attack(Target.parse(server.url), plan)
    await attack.run()
    counts = attack.record.counts
    print(counts, plan)
    assert attack.record.violations == [], plan
