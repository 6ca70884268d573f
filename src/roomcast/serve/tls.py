"""The certificate that the server shows, and how a renewed one takes its place."""

from __future__ import annotations

import ssl

from roomcast.model.errors import CannotStart
from roomcast.model.regular_file import read_regular
from roomcast.model.settings import Settings
from roomcast.serve.reload import Change, Reloadable

_MOST_BYTES = 1024 * 1024
"""Far more than a chain of certificates has."""
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""OpenSSL's reasons for a key that does not belong to the certificate. The last one means that one of the two is
RSA and the other ECDSA."""


class Tls:
    """The context of all TLS connections."""

    def __init__(self, settings: Settings) -> None:
        """Reads the files. Blocks. Raises `CannotStart`."""
        self.context = _load(*_files(settings))
        self.reloadable = Reloadable("the TLS files", ("tls_cert", "tls_key"), self._prepare)

    def _prepare(self, settings: Settings) -> Change:
        renewed = _load(*_files(settings))

        def swap(connection: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
            connection.context = renewed

        def change() -> None:
            # OpenSSL calls it in each handshake, even if the client names no host. Loading the new files into the
            # old context would leave an old RSA certificate beside a new ECDSA one.
            self.context.sni_callback = swap

        return change


def tls_of(settings: Settings) -> Tls | None:
    """Returns the TLS context that `settings` name; None if they name no certificate. Reads the files, so it
    blocks. Raises `CannotStart`."""
    return Tls(settings) if settings.tls_cert or settings.tls_key else None


def _files(settings: Settings) -> tuple[str, str]:
    if settings.tls_cert and settings.tls_key:
        return settings.tls_cert, settings.tls_key
    if settings.tls_cert or settings.tls_key:
        given, missing = ("--tls-cert", "--tls-key") if settings.tls_cert else ("--tls-key", "--tls-cert")
        raise CannotStart(f"{given} is given without {missing}: a certificate needs its key, so give both")
    raise CannotStart("--tls-cert and --tls-key are gone: give both, or restart the server to serve without TLS")


def _load(cert: str, key: str) -> ssl.SSLContext:
    """A new context: bad files must not harm the one in use."""
    for option, path in (("--tls-cert", cert), ("--tls-key", key)):
        read_regular(path, f"{option} {path}", _MOST_BYTES)  # OpenSSL's errors name neither reason nor file
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could demand endless handshakes
    try:
        context.load_cert_chain(cert, key, password=_refuse_password)
    except _Encrypted:
        raise CannotStart(f"--tls-key {key} is encrypted: name one that needs no password") from None
    except (ssl.SSLError, OSError, ValueError) as error:
        raise CannotStart(_why(error, cert, key)) from None
    return context


class _Encrypted(Exception):
    """The key needs a password. OpenSSL would ask for it at the terminal, and wait."""


def _refuse_password() -> str:
    raise _Encrypted


def _why(error: Exception, cert: str, key: str) -> str:
    reason = getattr(error, "reason", None) or ""
    if reason in _MISMATCHES:
        return f"--tls-key {key} is not the key of --tls-cert {cert}: name two files that belong together"
    said = reason.replace("_", " ").lower() or str(error)
    return f"--tls-cert {cert} and --tls-key {key} cannot be used ({said:.100}): both must be PEM files"
