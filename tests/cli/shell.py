"""Programs run as by a shell: in a pipe, or in a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from fcntl import ioctl
from types import TracebackType
from typing import Self

from tests.running import PATIENCE

TO_THE_END = 3 * PATIENCE
"""Seconds that a program may take. Some wait by themselves, such as `bench` for late messages."""
ROOMCAST = [sys.executable, "-m", "roomcast"]


def environment(**more: str) -> dict[str, str]:
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("ROOMCAST_", "NO_COLOR", "PYTHONUNBUFFERED"))
    }
    return {**inherited, "TERM": "xterm-256color", "LANG": "C.UTF-8", "TZ": "UTC", **more}


def run(
    *arguments: str,
    url: str | None = None,
    input: bytes | str = b"",
    program: Sequence[str] = ROOMCAST,
    **env: str,
) -> subprocess.CompletedProcess[str]:
    """Runs a program that ends by itself, in pipes."""
    done = subprocess.run(
        [*program, *arguments],
        input=input.encode() if isinstance(input, str) else input,
        env=environment(**({"ROOMCAST_URL": url} if url else {}), **env),
        capture_output=True,
        timeout=TO_THE_END,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class Program:
    """A program that keeps running. Its output is read as it comes: stdout and stderr in pipes, or both in a
    terminal."""

    def __init__(
        self,
        *arguments: str,
        url: str,
        terminal: bool = False,
        columns: int = 120,
        input: int | None = None,
        **env: str,
    ) -> None:
        self.out = self.err = ""
        ends: list[int] = []
        if terminal:
            ours, theirs = pty.openpty()
            ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
            ends, self._names = [theirs, theirs], {ours: "out"}
        else:
            (out, theirs_out), (err, theirs_err) = os.pipe(), os.pipe()
            ends, self._names = [theirs_out, theirs_err], {out: "out", err: "err"}
        self.process = subprocess.Popen(
            [*ROOMCAST, *arguments],
            stdin=subprocess.DEVNULL if input is None else input,
            stdout=ends[0],
            stderr=ends[1],
            env=environment(ROOMCAST_URL=url, **env),
        )
        for end in set(ends):
            os.close(end)

    def until(self, pattern: str, where: str = "out") -> re.Match[str]:
        """Reads until the output has this pattern."""
        end = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, getattr(self, where), re.MULTILINE)):
            assert self._read(end), f"no {pattern!r} in {self.out!r} and {self.err!r}"
        return match

    def look(self, seconds: float = 0.05) -> None:
        """Reads the output that has come meanwhile."""
        if select.select([*self._names], [], [], seconds)[0]:
            self._read(0)

    def wait(self) -> int:
        """Reads to the end. Returns the exit status."""
        end = time.monotonic() + TO_THE_END
        while self._read(end):
            pass
        return self.process.wait(PATIENCE)

    def close_output(self) -> None:
        """Closes our end of its stdout."""
        out = next(end for end, name in self._names.items() if name == "out")
        del self._names[out]
        os.close(out)

    def _read(self, end: float) -> bool:
        ready, _, _ = select.select([*self._names], [], [], max(0.0, end - time.monotonic()))
        assert ready or not self._names, f"nothing more came after {self.out!r} and {self.err!r}"
        for one in ready:
            try:
                data = os.read(one, 65536)
            except OSError:  # Linux raises it for a terminal that no process has open any more
                data = b""
            if data:
                name = self._names[one]
                setattr(self, name, getattr(self, name) + data.decode(errors="replace"))
            else:
                del self._names[one]
                os.close(one)
        return bool(self._names)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        for end in self._names:
            os.close(end)
