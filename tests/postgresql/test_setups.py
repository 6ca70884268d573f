"""Connection strings, errors for mistakes in them, which show no secrets, and poolers."""

from __future__ import annotations

import gc
import logging
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomcast.log import open_log as open_any
from roomcast.log.postgresql.log import PostgresLog
from roomcast.model.errors import LogUnusable
from roomcast.model.redact import redacted_url
from roomcast.model.retention import Retention
from tests.certificate import Certificate
from tests.conftest import require
from tests.log.steps import draft, publish, rooms, seqs, take
from tests.postgresql.conftest import Open
from tests.postgresql.database import Cluster, free_port
from tests.running import wait_for

SECRET = "hunter2"

# asyncpg leaves the socket of a failed TLS handshake to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def collect() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with TLS: `app` needs TLS and SCRAM, `plain` needs SCRAM, `roomcast` needs no password."""
    certificate = Certificate(tmp_path_factory.mktemp("tls"))
    cluster = Cluster(fsync="off", ssl="on", password_encryption="scram-sha-256")
    cluster.make()
    for name, file in (("server.crt", certificate.cert), ("server.key", certificate.key)):
        cluster.place(name, file.read_text())
    cluster.place(
        "pg_hba.conf",
        "host all roomcast 127.0.0.1/32 trust\nhostssl all app 127.0.0.1/32 scram-sha-256\n"
        "host all plain 127.0.0.1/32 scram-sha-256\n",
    )
    cluster.start()
    cluster.certificate = str(certificate.cert)
    for user in ("app", "plain"):
        cluster.sql(f"CREATE ROLE {user} LOGIN PASSWORD '{SECRET}'")
    yield cluster
    cluster.remove()


@pytest.fixture
def database(guarded: Cluster) -> str:
    """A database in which `app` and `plain` may create a schema."""
    name = guarded.make_database()
    guarded.sql(f'GRANT CREATE ON DATABASE "{name}" TO app, plain')
    return name


async def works(url: str) -> None:
    log = await open_any(url, retention=Retention())
    try:
        assert seqs((await log.append([draft()])).messages) == [1]
        assert SECRET not in log.name
    finally:
        await log.close()


async def test_a_password_a_pgpass_file_and_a_service_file_are_used(
    guarded: Cluster, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await works(f"postgresql://plain:{SECRET}@127.0.0.1:{guarded.port}/{database}")
    guarded.sql("DROP SCHEMA roomcast CASCADE", database)
    await works(f"postgres://127.0.0.1:{guarded.port}/{database}?user=plain&password={SECRET}")
    guarded.sql("DROP SCHEMA roomcast CASCADE", database)
    pgpass = tmp_path / "pgpass"
    pgpass.write_text(f"127.0.0.1:{guarded.port}:*:plain:{SECRET}\n")
    pgpass.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(pgpass))
    await works(f"postgresql://plain@127.0.0.1:{guarded.port}/{database}")
    guarded.sql("DROP SCHEMA roomcast CASCADE", database)
    service = tmp_path / "pg_service.conf"
    service.write_text(f"[orders]\nhost=127.0.0.1\nport={guarded.port}\ndbname={database}\nuser=plain\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    await works("postgresql://?service=orders")


async def test_tls_is_verified_as_libpq_does(guarded: Cluster, database: str) -> None:
    where = f"postgresql://app:{SECRET}@localhost:{guarded.port}/{database}"
    await works(f"{where}?sslmode=verify-full&sslrootcert={guarded.certificate}")
    with pytest.raises(LogUnusable, match=r"cannot prove its identity.*sslrootcert") as refused:
        await works(f"{where}?sslmode=verify-full&sslrootcert={_other(guarded)}")
    assert SECRET not in str(refused.value)


def _other(guarded: Cluster) -> str:
    """The file of another server's certificate."""
    folder = guarded.folder / "other"
    folder.mkdir(exist_ok=True)
    return str(Certificate(folder).cert)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"postgresql://plain:wrong{SECRET}@{{at}}", "refuses the user or the password"),
        (f"postgresql://nobody:{SECRET}@{{at}}", "refuses the user or the password"),
        (f"postgresql://app:{SECRET}@{{at}}?sslmode=disable", "refuses the user or the password"),
        (f"postgresql://roomcast:{SECRET}@{{host}}/nowhere", "does not exist"),
        (f"postgresql://roomcast:{SECRET}@{{at}}?sslmode=often", "cannot be used|is not a connection string"),
        (f"postgresql://roomcast:{SECRET}@{{at}}?colour=red", "cannot be used"),
        (f"postgresql://roomcast:{SECRET}@localhost:port/x", "cannot be used|is not a connection string"),
        (f"postgresql://roomcast:{SECRET}@localhost:99999/x", r"as it is written \(there is no port 99999\)"),
        (f"postgresql://roomcast:{SECRET}@[::1]:5432,localhost:0/x", "there is no port 0"),
        (f"postgresql:roomcast:{SECRET}@localhost/x", "cannot be used|is not a connection string"),
        (f"postgresql://roomcast:{SECRET}%@{{host}}/%zz", "does not exist"),
    ],
)
async def test_a_mistake_is_explained_in_one_sentence_without_the_password(
    guarded: Cluster, database: str, url: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    host = f"127.0.0.1:{guarded.port}"
    with pytest.raises(LogUnusable, match=says) as refused:
        await open_any(url.format(host=host, at=f"{host}/{database}"), retention=Retention())
    assert SECRET not in str(refused.value) + caplog.text
    assert "\n" not in str(refused.value)


def test_a_password_in_the_query_is_not_shown() -> None:
    shown = redacted_url(f"postgresql://localhost/x?password={SECRET}&sslpassword={SECRET}&user=a")
    assert shown == "postgresql://localhost/x?password=…&sslpassword=…&user=a"


async def test_a_user_who_may_not_create_the_schema_is_told_which_right_is_missing(
    guarded: Cluster, database: str
) -> None:
    guarded.sql(f'REVOKE CREATE ON DATABASE "{database}" FROM plain')
    with pytest.raises(LogUnusable, match="GRANT CREATE ON DATABASE"):
        await open_any(f"postgresql://plain:{SECRET}@127.0.0.1:{guarded.port}/{database}", retention=Retention())


async def test_owning_the_schema_is_enough(guarded: Cluster, database: str) -> None:
    url = f"postgresql://plain:{SECRET}@127.0.0.1:{guarded.port}/{database}"
    await works(url)
    guarded.sql(f'REVOKE CREATE ON DATABASE "{database}" FROM plain', database)
    log = await open_any(url, retention=Retention())
    assert seqs(await publish(log, "a")) == [2]
    assert await log.delete(1)
    await log.close()


async def test_another_encoding_is_refused(guarded: Cluster) -> None:
    guarded.sql("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    with pytest.raises(LogUnusable, match="ENCODING 'UTF8'"):
        await open_any(f"{guarded.server}/latin", retention=Retention())


async def test_a_setting_that_gives_up_durability_is_logged(
    open_log: Open, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await open_log()
    assert "the database has fsync = off" in caplog.text


@pytest.fixture(params=["transaction", "session"])
def pooler(request: pytest.FixtureRequest, postgresql: Cluster) -> Iterator[int]:
    """The port of a PgBouncer for the shared cluster."""
    port, folder = free_port(), postgresql.folder
    postgresql.place("bouncer.users", '"roomcast" ""\n', folder)
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": request.param,
        "server_round_robin": 1,  # another connection for each transaction
    }
    lines = [f"* = host=127.0.0.1 port={postgresql.port} user=roomcast", "[pgbouncer]"]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    postgresql.place("bouncer.ini", "\n".join(["[databases]", *lines, ""]), folder)
    config = folder / "bouncer.ini"
    process = subprocess.Popen([*postgresql.as_user(), require("pgbouncer"), str(config)], cwd=postgresql.folder)
    wait_for(lambda: listens(port), "PgBouncer to listen")
    yield port
    process.terminate()
    process.wait(10)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_everything_works_behind_a_pooler(
    open_log: Open, postgresql: Cluster, url: str, pooler: int
) -> None:
    behind = url.replace(str(postgresql.port), str(pooler))
    logs: list[PostgresLog] = [await open_log(behind), await open_log(behind), await open_log(url)]
    assert [log._tail._session.pooled for log in logs] == [True, True, False]
    tails = [log.consumer("test", 0) for log in logs]
    for n in range(30):
        await publish(logs[n % 3], f"r{n % 2}")
    for tail in tails:
        assert seqs(await take(tail, 30)) == list(range(1, 31))
    assert await logs[0].delete(1)
    assert seqs((await logs[1].read(rooms("r0", "r1"), 0, 100)).messages) == list(range(2, 31))
    assert len(await logs[1].rooms("r", "newest", None, 10)) == 2
