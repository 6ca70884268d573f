"""The rights that a configuration gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roomcast.auth import verifier
from roomcast.auth.grants import Grants
from roomcast.auth.keys import Keys
from roomcast.auth.rights import ConfiguredRights
from roomcast.auth.secrets import Secrets
from roomcast.model.errors import BadOption, CannotStart
from roomcast.model.settings import Settings
from roomcast.model.settings.anonymous import grants_of, quota_of

if TYPE_CHECKING:
    from roomcast.auth.tokens.issuers import Issuers


def rights_from(settings: Settings) -> ConfiguredRights:
    """The rights for these `settings`. Blocks: it reads the files of secrets and public keys. Raises
    `CannotStart` if a file or a combination of options cannot be used."""
    secrets = secrets_from(settings)
    return ConfiguredRights(
        keys=Keys(settings.keys),
        secrets=secrets,
        issuers=_issuers(settings, secrets),
        read=Grants.parse(grants_of("read", settings.anonymous)),
        publish=Grants.parse(grants_of("publish", settings.anonymous)),
        quota=quota_of(settings.anonymous),
        cookie=settings.cookie,
        revoked=[row.revocation() for row in settings.revoked],
    )


def secrets_from(settings: Settings) -> Secrets:
    """The secrets of these `settings`, none if no secret is configured. Blocks: it reads files. Raises
    `BadOption` if a secret is given both as text and as a file, and `CannotStart` if one cannot be used."""
    if settings.secret is None:
        return Secrets.read(settings.secret_files)
    if settings.secret_files:
        raise BadOption("a secret is given twice, as text and as a file: remove ROOMCAST_SECRET or --secret-file")
    return Secrets.of_text(settings.secret, "the secret in ROOMCAST_SECRET")


def _issuers(settings: Settings, secrets: Secrets) -> Issuers | None:
    """None if no tokens are accepted. Raises `CannotStart`."""
    if not (settings.issuers or secrets):
        return None
    if not verifier.tokens_installed():
        if settings.issuers:
            raise CannotStart("[[issuer]] needs joserfc, which is not installed: `pip install 'roomcast[jwt]'`")
        return None
    from roomcast.auth.tokens.issuer import of_row, of_secrets  # late: cryptography is 17 MB
    from roomcast.auth.tokens.issuers import Issuers

    if secrets and any(row.iss is None for row in settings.issuers):
        raise BadOption("[[issuer]] needs iss beside a secret: tokens without iss belong to the secret")
    return Issuers([of_row(row) for row in settings.issuers], of_secrets(secrets) if secrets else None)
