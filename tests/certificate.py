"""Self-signed certificates, and connections to servers that use one."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

PATIENCE = 20.0
"""Seconds that connecting may take on a busy machine."""
_KEYS = {"ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}


class Certificate:
    """A certificate for localhost and its key, as files."""

    def __init__(self, folder: Path, name: str = "localhost", kind: str = "ecdsa") -> None:
        """`kind` is ecdsa or rsa."""
        if shutil.which("openssl") is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)("openssl is missing: apt-get install openssl")
        self.cert, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        made = ["openssl", "req", "-x509", "-newkey", *_KEYS[kind], "-nodes", "-days", "2", *names]
        files = ["-keyout", str(self.key), "-out", str(self.cert)]
        subprocess.run([*made, *files], check=True, capture_output=True, timeout=PATIENCE)
        self.context = ssl.create_default_context(cafile=self.cert)
        """The context of clients that trust this certificate and no other."""

    @property
    def options(self) -> tuple[str, ...]:
        """The server's options for this certificate."""
        return f"--tls-cert={self.cert}", f"--tls-key={self.key}"


class TlsPort(int):
    """The number of a port that speaks TLS. Every client of the tests connects to such a port over TLS."""

    context: ssl.SSLContext

    @classmethod
    def of(cls, port: int, certificate: Certificate) -> TlsPort:
        """The port number, with the certificate that its server uses."""
        found = cls(port)
        found.context = certificate.context
        return found


def connect(port: int, receive_buffer: int | None = None) -> socket.socket:
    """A connection to this port of 127.0.0.1, over TLS where the port says so. `receive_buffer` is in bytes."""
    plain = socket.socket()
    try:
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.settimeout(PATIENCE)
        plain.connect(("127.0.0.1", port))
        if isinstance(port, TlsPort):
            return port.context.wrap_socket(plain, server_hostname="localhost")
    except OSError:
        plain.close()
        raise
    return plain
