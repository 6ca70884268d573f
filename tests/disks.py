"""File systems for one test: small ones that fill up, and one whose power can be cut. They need root."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.running import PATIENCE, wait_for

_GOING_DOWN = 0x8004587D
"""The kernel's FS_IOC_SHUTDOWN (include/uapi/linux/fs.h), which ext4 and XFS have for tests such as these."""
_WITHOUT_FLUSHING = struct.pack("I", 2)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mounts a file system in memory at `folder`, with a size such as `1m`."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True, timeout=PATIENCE)


class Disk:
    """An ext4 file system in a file, mounted at `folder`."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.folder = folder
        self._image = image
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(256 * 1024 * 1024)
        subprocess.run(
            ["mkfs.ext4", "-q", "-F", image],
            check=True,
            timeout=PATIENCE,
            env={"PATH": f"{os.environ['PATH']}:/usr/sbin"},
        )
        self._mount()

    def cut_power(self) -> None:
        """Loses everything that is only in memory, as a power cut would, and mounts the disk again. Programs that
        have files open on it must have ended, or end because of the cut."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _GOING_DOWN, _WITHOUT_FLUSHING)
        finally:
            os.close(descriptor)
        self.unmount()
        self._mount()

    def unmount(self) -> None:
        """Unmounts the disk; waits for programs that still have files open on it."""
        umount = ["umount", str(self.folder)]
        wait_for(
            lambda: not subprocess.run(umount, stderr=subprocess.DEVNULL, timeout=60).returncode,
            f"{self.folder} to be free",
        )

    def _mount(self) -> None:
        # By default the kernel would write its cache to the disk after 5 s.
        _mount("-o", "loop,commit=600", str(self._image), str(self.folder))


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        reason = f"this test mounts a file system of its own, which is not allowed here: {done.stderr.strip()}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
