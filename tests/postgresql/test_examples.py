"""The programs in docs/postgresql.md, run unchanged."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.log.steps import take
from tests.postgresql.conftest import Open
from tests.postgresql.database import Cluster

DOCS = (Path(__file__).parents[2] / "docs" / "postgresql.md").read_text()
DJANGO = """
import json
import django
from django.conf import settings
settings.configure(DATABASES={{"default": {{"ENGINE": "django.db.backends.postgresql", "NAME": "{name}",
    "USER": "roomcast", "HOST": "127.0.0.1", "PORT": {port}}}}})
django.setup()
{example}
place_order(7, "99.90")
try:
    with transaction.atomic():
        place_order(8, "1.00")
        raise LookupError
except LookupError:
    pass
place_order(9, "5.00")
"""
SQLALCHEMY = """
import json
from sqlalchemy import create_engine
{example}
engine = create_engine("postgresql+psycopg://roomcast@127.0.0.1:{port}/{name}")
for customer, total, commits in [(7, "99.90", True), (8, "1.00", False), (9, "5.00", True)]:
    with Session(engine) as session:
        place_order(session, customer, total)
        if commits:
            session.commit()
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)


@pytest.mark.parametrize(("program", "named"), [(DJANGO, "django"), (SQLALCHEMY, "sqlalchemy")])
async def test_a_message_of_an_order_exists_if_and_only_if_the_order_does(
    open_log: Open, postgresql: Cluster, url: str, program: str, named: str
) -> None:
    log = await open_log()
    name = url.rpartition("/")[2]
    postgresql.sql("DROP TABLE IF EXISTS orders; CREATE TABLE orders (customer int, total numeric)", name)
    [example] = [block for block in blocks("python") if f"from {named}" in block]
    text = program.format(example=example, port=urlsplit(url).port, name=name)
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", text], check=True, timeout=60)
    messages = await take(log.consumer("test", 0), 2)
    assert [b'"customer":7' in messages[0].body, b'"customer":9' in messages[1].body] == [True, True]
    assert postgresql.sql("SELECT count(*) FROM orders", name) == "2"


async def test_the_statements_of_the_docs_do_what_they_say(open_log: Open, postgresql: Cluster, url: str) -> None:
    log = await open_log()
    name = url.rpartition("/")[2]
    postgresql.sql("DROP TABLE IF EXISTS orders; CREATE TABLE orders (customer int, total numeric)", name)
    [transaction] = [block for block in blocks("sql") if "BEGIN" in block]
    postgresql.sql(transaction, name)
    [message] = await take(log.consumer("test", 0), 1)
    assert b'"data":{"total":99.90}' in message.body
    reading = re.findall(r"`(SELECT seq, room, [^`]*)`", DOCS)
    assert postgresql.sql(reading[0], name).startswith("1|orders|{")
