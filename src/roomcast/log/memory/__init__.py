"""The log in memory: for tests, for trying roomcast out, and for users who need no history after a restart."""

from roomcast.log.memory.log import MemoryLog, open_log

__all__ = ["MemoryLog", "open_log"]
