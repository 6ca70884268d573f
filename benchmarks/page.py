"""The page under load: a long list of messages beside many rooms, more each second, in a real Chromium."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from playwright.sync_api import CDPSession, Page, sync_playwright

from benchmarks.load import Failed, Figures
from benchmarks.peers import Peer, running
from benchmarks.work import Bench

ROOM = "storm"
_WATCH = """() => {
  const seen = { frames: 0, worst: 0, tasks: [], began: performance.now(), last: performance.now() };
  globalThis.seen = seen;
  new PerformanceObserver((list) => seen.tasks.push(...list.getEntries().map((task) => task.duration)))
    .observe({ type: "longtask" });
  const frame = (now) => {
    seen.frames += 1;
    seen.worst = Math.max(seen.worst, now - seen.last);
    seen.last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}"""


@dataclass(frozen=True)
class Storm:
    """Messages at a rate: half of them in a long list, half in the rooms beside it."""

    held: int
    """Messages in the list at the start."""
    rate: int
    """Messages a second."""
    rooms: int
    """Rooms beside the one that is open."""

    def measure(self, peer: Peer, bench: Bench) -> Figures:
        """Measures the `peer` with the sizes and times of `bench`. Raises `Failed` without Chromium."""
        chromium = shutil.which("chromium")
        if chromium is None:
            raise Failed("chromium is missing: apt-get install chromium")
        with running(peer, bench.server_core) as server, _all_cores(), sync_playwright() as playwright:
            url = f"http://127.0.0.1:{server.place.port}"
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            try:
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.goto(f"{url}/?room=storm")
                page.wait_for_selector("#state[data-state=live]")
                paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
                with httpx.Client(base_url=url) as client:
                    rooms = [f"team/{n % 40}/r{n}" for n in range(bench.part(self.rooms))]
                    for start in range(0, len(rooms), 1000):
                        _post(client, "x", rooms[start : start + 1000])
                    _fill(client, bench.part(self.held))
                    _shown(page, "held")
                    page.evaluate(_WATCH)
                    session = page.context.new_cdp_session(page)
                    session.send("Performance.enable", {"timeDomain": "threadTicks"})
                    before = _cpu(session)
                    sent = _storm(client, rooms, self.rate, bench.seconds)
                    _shown(page, "the last")
                seen = page.evaluate("({ ...seen, now: performance.now() })")
                figures = _figures(seen, sent / bench.seconds, _cpu(session) - before)
                return {**figures, "first_paint_ms": paint}
            finally:
                browser.close()


@contextmanager
def _all_cores() -> Iterator[None]:
    """A browser is several processes, and draws without a graphics card here: more than the load's core can do."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


def _cpu(session: CDPSession) -> float:
    """CPU seconds of the page's main thread."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


def _fill(client: httpx.Client, count: int) -> None:
    for start in range(0, count, 1000):
        numbers = range(start, min(count, start + 1000))
        _post_all(client, [_message(ROOM, n) for n in numbers])
    _post(client, "held", [ROOM])


def _storm(client: httpx.Client, rooms: Sequence[str], rate: int, seconds: float) -> int:
    """Posts as often as the clock allows, about a hundred times a second: ten larger posts a second would arrive
    in lumps. Returns the number of messages."""
    began, sent = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        due = int(passed * rate) - sent
        if due:
            numbers = range(sent, sent + due)
            _post_all(client, [_message(rooms[n * 37 % len(rooms)] if n % 2 else ROOM, n) for n in numbers])
            sent += due
        time.sleep(0.01)
    _post(client, "the last", [ROOM])
    return sent


def _message(room: str, number: int) -> dict[str, str]:
    return {"room": room, "text": f"{number} {'word ' * (number % 30)}"}


def _post(client: httpx.Client, text: str, rooms: Sequence[str]) -> None:
    _post_all(client, [{"room": room, "text": text} for room in rooms])


def _post_all(client: httpx.Client, messages: list[dict[str, str]]) -> None:
    client.post("/messages", json=messages).raise_for_status()


def _shown(page: Page, text: str) -> None:
    page.locator("li.message .text").get_by_text(text, exact=True).wait_for()


def _figures(seen: dict[str, Any], rate: float, cpu: float) -> Figures:
    tasks, seconds = seen["tasks"], (seen["now"] - seen["began"]) / 1000
    return {
        "frames_per_second": seen["frames"] / seconds,
        "main_thread": cpu / seconds,
        "worst_frame_ms": seen["worst"],
        "long_tasks": len(tasks),
        "longest_task_ms": max(tasks, default=0.0),
        "messages_per_second": rate,
    }
