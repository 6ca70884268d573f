"""The limit of open files, on kernels that refuse to raise it as far as they say."""

from __future__ import annotations

import resource

import pytest

from roomcast.model.file_limit import raise_file_limit

NONE_ON_MACOS = 2**63 - 1
"""`RLIM_INFINITY` there; on Linux it is -1."""


class Kernel:
    """Its limits of open files, of which it allows only so many in truth."""

    def __init__(self, soft: int, hard: int, most: int, error: type[Exception]) -> None:
        self.limits = soft, hard
        self._most = most
        self._error = error

    def getrlimit(self, which: int) -> tuple[int, int]:
        assert which == resource.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE
        if limits[0] > self._most:
            raise self._error("current limit exceeds maximum limit")
        self.limits = limits


@pytest.mark.parametrize("error", [ValueError, OSError])
@pytest.mark.parametrize(
    ("soft", "hard", "most", "found"),
    [
        (256, NONE_ON_MACOS, 10_240, 10_240),
        (256, NONE_ON_MACOS, 61_440, 61_440),
        (256, 200_000, 61_440, 61_440),
        (256, 4_096, 61_440, 4_096),
        (256, 256, 61_440, 256),
        (256, NONE_ON_MACOS, 256, 256),
        (256, NONE_ON_MACOS, 0, 256),
    ],
)
def test_as_many_files_as_the_kernel_allows_may_be_open(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, most: int, found: int, error: type[Exception]
) -> None:
    kernel = Kernel(soft, hard, most, error)
    monkeypatch.setattr(resource, "getrlimit", kernel.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", kernel.setrlimit)
    assert raise_file_limit() == found
    assert kernel.limits == (found, hard)
