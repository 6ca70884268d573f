"""Real proxies as processes, configured with the lines in the docs; only ports and files are replaced."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.certificate import Certificate
from tests.conftest import require
from tests.running import PATIENCE, free_port, wait_for

DOCS = Path(__file__).parents[1] / "docs"
NGINX = """
{user}
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {lines}
}}
"""


class Proxy:
    """A proxy as a process that listens. `tls_port` is 0 if it has no TLS."""

    def __init__(self, command: list[str], folder: Path, port: int, tls_port: int = 0) -> None:
        self.port = port
        self.tls_port = tls_port
        self._output = folder / "output"
        # A file, not the tests' own stdout: a program that reads that to its end would also wait for the proxy.
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={
                    **os.environ,
                    "HOME": str(folder),
                    "XDG_DATA_HOME": str(folder),
                    "XDG_CONFIG_HOME": str(folder),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_for(self._listens, f"{command[0]} to listen")

    def _listens(self) -> bool:
        assert self._process.poll() is None, self._output.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.tls_port or self.port)) == 0

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)


def lines(page: str, language: str) -> list[str]:
    """The code blocks of a page of the docs in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def swap(text: str, others: Mapping[str, str]) -> str:
    """The text with each key of `others` replaced by its value. Each key must occur."""
    for old, new in others.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def run_nginx(folder: Path, port: int, lines: str) -> Proxy:
    """Runs nginx with these lines in its http block."""
    user = "user root;" if os.geteuid() == 0 else ""  # a worker of another user cannot read pytest's folders
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, lines=lines, user=user))
    command = [require("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "e")]
    return Proxy(command, folder, port)


def nginx(folder: Path, behind: int) -> Proxy:
    port = free_port()
    others = {"127.0.0.1:8080": f"127.0.0.1:{behind}", "listen 80;": f"listen 127.0.0.1:{port};"}
    return run_nginx(folder, port, swap(lines("nginx.md", "nginx")[0], others))


def haproxy(folder: Path, behind: int) -> Proxy:
    port, tls_port = free_port(), free_port()
    both = folder / "both.pem"
    certificate = Certificate(folder)
    both.write_text(certificate.cert.read_text() + certificate.key.read_text())
    others = {
        "127.0.0.1:8080": f"127.0.0.1:{behind}",
        "bind :80\n": f"bind 127.0.0.1:{port}\n",
        "bind :443 ": f"bind 127.0.0.1:{tls_port} ",
        "/etc/haproxy/certs/example.org.pem": str(both),
    }
    (text,) = lines("haproxy.md", "haproxy")
    (folder / "haproxy.cfg").write_text(swap(text, others))
    return Proxy([require("haproxy"), "-db", "-f", "haproxy.cfg"], folder, port, tls_port)


def caddy(folder: Path, behind: int) -> Proxy:
    port, tls_port = free_port(), free_port()
    certificate = Certificate(folder)
    (text,) = lines("caddy.md", "caddyfile")
    tls = f"tls {certificate.cert} {certificate.key}"
    sites = f"http://:{port} {{\n\timport roomcast\n}}\nhttps://:{tls_port} {{\n\t{tls}\n"
    text = swap(text, {"127.0.0.1:8080": f"127.0.0.1:{behind}", "live.example.org {\n": sites})
    alone = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"
    (folder / "Caddyfile").write_text(alone + text)
    return Proxy([require("caddy"), "run", "--config", "Caddyfile"], folder, port, tls_port)


def varnish(folder: Path, behind: int) -> Proxy:
    port = free_port()
    (text,) = lines("varnish.md", "vcl")
    (command,) = lines("varnish.md", "sh")
    file = folder / "roomcast.vcl"
    file.write_text(swap(text, {'.port = "8080"': f'.port = "{behind}"'}))
    command = swap(command, {"-a :80 ": f"-a 127.0.0.1:{port} ", "/etc/varnish/roomcast.vcl": str(file)})
    program, *options = shlex.split(command)
    as_we_are = ["-j", "none"]  # another user cannot read pytest's folders
    return Proxy([require(program), *as_we_are, "-F", "-n", str(folder / "n"), *options], folder, port)


PROXIES: dict[str, Callable[[Path, int], Proxy]] = {
    "nginx": nginx,
    "haproxy": haproxy,
    "caddy": caddy,
    "varnish": varnish,
}
"""Functions that start a proxy: its folder, and the port of this machine that it forwards to."""
