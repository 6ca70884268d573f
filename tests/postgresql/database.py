"""A PostgreSQL cluster for tests, in a temporary folder, run by a user without privileges."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.running import PATIENCE, wait_for

USER = "roomcast"
"""A superuser of the cluster, since the tests create databases."""
QUICK = {"fsync": "off", "full_page_writes": "off"}
"""Settings of a cluster that no test kills."""


def binaries() -> Path | None:
    """The folder of the newest PostgreSQL of this machine. Debian does not put it on the path."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(installed, key=lambda path: int(path.parent.name), default=None)


def require_postgresql() -> Path:
    """Returns that folder. Skips the test, or in CI fails it, if PostgreSQL is not installed."""
    found = binaries()
    if found is None:
        message = "PostgreSQL is not installed: tests/setup.sh installs it where it may"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


class Cluster:
    """One database server on a port of its own. After `kill` or `stop`, `start` finds the same files."""

    def __init__(self, folder: Path | None = None, **settings: str) -> None:
        """`folder`: an empty folder for its files; by default a temporary one."""
        self.bin = require_postgresql()
        self.folder = folder or Path(tempfile.mkdtemp(prefix="pg-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self.settings = settings
        self._free: list[str] = []
        """The connection strings of databases that were given back."""
        self.certificate = ""
        """The file of its certificate, if it has one."""
        self.process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            os.chown(self.folder, _unprivileged().pw_uid, _unprivileged().pw_gid)

    @property
    def server(self) -> str:
        """Its connection string, without a database."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}"

    def make(self) -> None:
        """Creates the files of a new cluster."""
        self.run(
            "initdb", "-D", str(self.data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"
        )

    def place(self, name: str, text: str, folder: Path | None = None) -> None:
        """Writes a file that only the cluster's user can read, into its data or another folder."""
        file = (folder or self.data) / name
        file.write_text(text)
        file.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(file, _unprivileged().pw_uid, _unprivileged().pw_gid)

    def as_user(self) -> list[str]:
        """The words before a command that make the cluster's user run it."""
        return _as_user()

    def start(self) -> None:
        settings = {"port": str(self.port), "listen_addresses": "127.0.0.1", **self.settings}
        settings |= {"unix_socket_directories": str(self.folder), "max_wal_senders": "4"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [*_as_user(), str(self.bin / "postgres"), "-D", str(self.data), *options],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
            )
        wait_for(self._answers, "PostgreSQL to answer")

    def start_alone(self) -> None:
        """Starts it without waiting for a standby, which does not exist yet."""
        names, self.settings = self.settings, {**self.settings, "synchronous_standby_names": ""}
        self.start()
        self.settings = names

    def make_standby(self) -> Cluster:
        """A copy that follows this cluster. From now on commits wait for it, if the settings say so."""
        standby = Cluster()
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        standby.run(
            "pg_basebackup", *where, "-D", str(standby.data), "-R", "-X", "stream", "-c", "fast", "--no-sync"
        )
        self.stop()
        self.start()
        return standby

    def stop_following(self) -> None:
        """Cuts this standby off its primary."""
        self.sql("ALTER SYSTEM SET primary_conninfo = ''")
        self.sql("SELECT pg_reload_conf()")
        wait_for(lambda: self.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "0", "the standby to stop")

    def caught_up(self, primary: Cluster) -> bool:
        """Whether this standby has everything that its primary has written."""
        return self.sql("SELECT pg_last_wal_replay_lsn()") >= primary.sql("SELECT pg_current_wal_lsn()")

    def kill(self) -> None:
        """Kills all its processes at once."""
        if self.process and self.process.poll() is None:
            postmaster = self.process.pid
            children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
            # They are stopped first: one that sees the postmaster die no longer waits for the standby, and shows
            # others a commit that only this server has.
            _signal(signal.SIGSTOP, map(int, children))
            _signal(signal.SIGKILL, (postmaster, *map(int, children)))
            self.process.wait(PATIENCE)
            # Its shared memory is in use until the last one has ended, and `start` would fail.
            wait_for(lambda: not any(map(_runs, map(int, children))), "all of PostgreSQL's processes to end")

    def stop(self) -> None:
        """Stops it as an operator does (fast shutdown): connections are cut."""
        assert self.process
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str = "") -> str:
        """The connection string of the database `name`, by default of a new one."""
        return f"{self.server}/{name or self.make_database()}"

    def take(self) -> str:
        """The connection string of a database without the schema: one that was given back, or a new one."""
        return self._free.pop() if self._free else self.url()

    def give_back(self, url: str) -> None:
        """Takes a database back on which no log is open. Creating a new one each time would write 300 files."""
        self.sql("SET client_min_messages = error; DROP SCHEMA IF EXISTS roomcast CASCADE", url.rpartition("/")[2])
        self._free.append(url)

    def make_database(self) -> str:
        name = f"roomcast_{uuid.uuid4().hex[:12]}"
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE template0')
        return name

    def sql(self, text: str, database: str = "postgres", user: str = USER) -> str:
        """The output of psql, without headers and alignment. Fails the test if a statement fails."""
        return self.run(
            "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", user,
            "-d", database, "-c", text,
        )  # fmt: skip

    def run(self, program: str, *arguments: str) -> str:
        """Runs one of PostgreSQL's programs as the cluster's user, and returns its output."""
        done = subprocess.run(
            [*_as_user(), str(self.bin / program), *arguments], cwd=self.folder, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "log.txt").read_text()
        done = subprocess.run(
            [str(self.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)], capture_output=True
        )
        return done.returncode == 0


def _signal(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _runs(pid: int) -> bool:
    """Whether a process has not ended. A zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _as_user() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    user = _unprivileged()
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


def _unprivileged() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
