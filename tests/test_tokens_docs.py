"""The programs of docs/tokens.md sign tokens that the server accepts, and its rows grant what providers' claims
say."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomcast.auth.rights import ConfiguredRights
from roomcast.auth.tokens.issuer import of_row, of_secrets
from roomcast.auth.tokens.issuers import Issuers
from roomcast.auth.tokens.jose import of_pem
from roomcast.auth.tokens.ring import KeyRing
from roomcast.model.settings import SECTIONS
from tests.auth.signing import pem, token
from tests.auth.test_token_attacks import SECRET, SECRETS
from tests.running import Running, start_roomcast
from tests.test_rights_docs import LANGUAGES, blocks

DOCS = (Path(__file__).parents[1] / "docs/tokens.md").read_text()


def section(heading: str) -> str:
    return re.split(r"^#+ ", DOCS.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("tokens")
    prepare, *_ = blocks(section("My own JWT"), "sh")
    subprocess.run(["sh", "-e", "-c", prepare], cwd=folder, check=True, timeout=60)
    running = start_roomcast(folder, "--secret-file=secret", "--log=memory:")
    yield running
    running.kill()


@pytest.mark.parametrize("language", ["py", "mjs", "php", "go"])
def test_a_program_in_each_language_signs_a_token_that_is_accepted(server: Running, language: str) -> None:
    [program] = blocks(section("My own JWT"), language)
    file, command = LANGUAGES[language]
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    (server.folder / file).write_text(program)
    done = subprocess.run(command, cwd=server.folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    me = server.get("/me", headers={"authorization": f"Bearer {done.stdout.strip()}"})
    assert me.status_code == 200, server.said()
    assert (me.json()["kind"], me.json()["user"], me.json()["read"]) == ("token", "42", ["user/42"])
    assert me.json()["expires_in"] > 900


def test_the_claims_that_the_docs_explain_are_accepted() -> None:
    [claims] = blocks(section("My own JWT"), "json")
    rights = ConfiguredRights(issuers=Issuers([], of_secrets(SECRETS)))
    holder = rights.identify(token(json.loads(claims), key=SECRET), json.loads(claims)["iat"])
    assert (holder.user, holder.read.texts(), holder.publish.texts()) == (
        "user-42",
        ["team/7/*", "user/42"],
        ["chat/7"],
    )


def test_the_row_that_the_docs_explain_is_one() -> None:
    [row] = blocks(section("Identity providers"), "toml")
    [issuer] = SECTIONS["issuer"].from_value(tomllib.loads(row)["issuer"])
    named = {field.name for field in dataclasses.fields(issuer)}
    assert named - tomllib.loads(row)["issuer"][0].keys() == {"public_keys", "secret_files"}


PROVIDERS = {
    "Auth0": (["team/7/*", "user/auth0|123456"], "auth0|123456"),
    "Keycloak": (["role/editor", "team/7/*", "user/5f1b9c1e-0c3a-4b8e-9a52-0d6f3a1c7e42"], "anna"),
    "Clerk": (
        ["team/org_2b6fcd92dvf96q05x8e4a8xvt6c/*", "user/user_2b6fcd92dvf96q05x8e4a8xvt6a"],
        "user_2b6fcd92dvf96q05x8e4a8xvt6a",
    ),
    "Supabase": (
        ["team/7/*", "user/123e4567-e89b-12d3-a456-426614174000"],
        "123e4567-e89b-12d3-a456-426614174000",
    ),
}


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_row_for_a_provider_gives_rooms_for_what_its_tokens_say(name: str) -> None:
    [row], [claims] = blocks(section(name), "toml"), blocks(section(name), "json")
    [issuer] = SECTIONS["issuer"].from_value(tomllib.loads(row)["issuer"])
    said = json.loads(claims)
    taken = dataclasses.replace(of_row(issuer), source=KeyRing([of_pem(pem("ES256", "docs"))]))
    text = token(said, "ES256", name="docs", kid="ins_1", cat="cl_B7d4PD111AAA")
    holder = ConfiguredRights(issuers=Issuers([taken])).identify(text, said["iat"])
    read, user = PROVIDERS[name]
    assert (holder.read.texts(), holder.user) == (read, user)
