"""A stand-in for a container engine: carries out a Containerfile and runs its image on this machine's own files.

An engine needs a registry to fetch its base image from. Here every `FROM` is this machine instead, as a layer that
is written to and thrown away, so all the other steps are done as they are written. The image runs in namespaces of
its own: its user, a root that is read-only, and a network with only loopback. Needs root."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_KEPT = re.compile(r"(PIP_|SSL_|HTTPS?_PROXY|NO_PROXY|https?_proxy|no_proxy)")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Image:
    """The result of a Containerfile."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    user: str = "0:0"
    folder: str = "/"
    volumes: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"


class Engine:
    """Namespaces in which images are built and run. `close` removes everything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        script = f"mount -t tmpfs none {folder} && ip link set lo up && echo && exec cat"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"\n", "no namespaces: this needs root"

    def close(self) -> None:
        self._holder.communicate()

    def enter(self, *command: str, net: bool = True) -> list[str]:
        """The command that runs `command` in the namespaces; in the machine's own network if `net` is false."""
        flags = ["--mount", *(["--net"] if net else [])]
        return ["nsenter", f"--target={self._holder.pid}", *flags, "--wd=/", "--", *command]

    def shell(self, script: str, net: bool = True) -> str:
        done = subprocess.run(
            self.enter("sh", "-ec", script, net=net), capture_output=True, text=True, timeout=170, check=False
        )
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout

    def build(self, containerfile: Path) -> Image:
        """Carries out each step of each stage."""
        return self.build_from(containerfile.read_text(), containerfile.parent)

    def build_from(self, text: str, context: Path) -> Image:
        """Carries out the text of a Containerfile, which copies files from the folder `context`."""
        stages: dict[str, Image] = {}
        image = Image(self._folder)
        for word, rest in steps(text):
            if word == "FROM":
                name = rest.partition(" AS ")[2] or "the last"
                image = stages[name] = Image(self._stage(str(len(stages))))
            else:
                self._step(image, word, rest, context, stages)
        return image

    def _stage(self, name: str) -> Path:
        top = self._folder / name
        self.shell(
            f"mkdir -p {top}/upper {top}/work {top}/root && mount -t overlay overlay "
            f"-o lowerdir=/,upperdir={top}/upper,workdir={top}/work {top}/root && "
            f"mount -t proc proc {top}/root/proc && mount --rbind /dev {top}/root/dev && "
            # A base image contains nothing of this checkout.
            f"mount -t tmpfs none {top}/root{Path(__file__).parents[2]} && "
            f"touch {top}/root/etc/resolv.conf && mount --bind /etc/resolv.conf {top}/root/etc/resolv.conf"
        )
        return top / "root"

    def _step(self, image: Image, word: str, rest: str, context: Path, stages: Mapping[str, Image]) -> None:
        match word:
            case "RUN":
                self.do(image, rest)
            case "COPY":
                self._copy(image, rest.split(), context, stages)
            case "ENV":
                image.env |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            case "USER":
                image.user = rest
            case "WORKDIR":
                image.folder = rest
                self.shell(f"mkdir -p {image.root}{rest}")
            case "VOLUME":
                image.volumes.append(rest)
            case "ENTRYPOINT":
                image.entrypoint = json.loads(rest)
            case "CMD":
                image.command = json.loads(rest)
            case "HEALTHCHECK":
                image.healthcheck = json.loads(rest.partition("CMD ")[2])
            case "STOPSIGNAL":
                image.stop_signal = rest
            case "EXPOSE":
                pass
            case _:
                raise NotImplementedError(word)

    def do(self, image: Image, script: str, net: bool = False) -> str:
        """Runs a script as root in the image, with the machine's own network unless `net` is true."""
        env = {**{k: v for k, v in os.environ.items() if _KEPT.match(k)}, "HOME": "/root", **image.env}
        env |= {"PIP_NO_COMPILE": "1"}  # half of the time that an installation takes
        return self.shell(shlex.join(self._within(image, ["sh", "-ec", script], env, "0:0")), net=net)

    def _copy(self, image: Image, words: Sequence[str], context: Path, stages: Mapping[str, Image]) -> None:
        source = context
        if words[0].startswith("--from="):
            source = stages[words[0].removeprefix("--from=")].root
        *names, to = [word for word in words if not word.startswith("--")]
        target = f"{image.root}{Path(image.folder) / to}"
        for name in names:
            place = source / name.removeprefix("/")
            into = f"{target}/{place.name}" if to.endswith("/") else target
            contents = "/." if place.is_dir() else ""
            self.shell(f"mkdir -p $(dirname {into}) && cp -a {place}{contents} {into}")

    def _within(self, image: Image, command: Sequence[str], env: Mapping[str, str], user: str) -> list[str]:
        uid, gid = user.split(":")
        drop = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
        drop += ["--bounding-set=-all", "--inh-caps=-all"] if uid != "0" else []
        variables = [f"{name}={value}" for name, value in env.items()]
        inside = ["sh", "-c", 'cd "$0" && exec "$@"', image.folder, *command]
        return ["env", "-i", *variables, "chroot", str(image.root), *drop, *inside]

    def mount(self, image: Image, mounts: Mapping[Path, str], read_only: bool = True) -> None:
        """Mounts each of `mounts` as `run --volume=FILE:PLACE:ro` does, and a volume for each that the image
        names. The root becomes read-only."""
        self.shell(f"mount -o remount,rw {image.root}")
        for volume in image.volumes:
            where = f"{image.root}{volume}"
            owner = self.shell(f"stat -c %u:%g {where}").strip()
            self.shell(f"mount -t tmpfs none {where} && chown {owner} {where}")
        for place, at in mounts.items():
            where = f"{image.root}{at}"
            make = f"mkdir -p {where}" if place.is_dir() else f"mkdir -p $(dirname {where}) && touch {where}"
            self.shell(f"{make} && mount --bind {place} {where} && mount -o remount,bind,ro {where}")
        if read_only:
            self.shell(f"mount -o remount,ro {image.root}")

    def run(self, image: Image, command: Sequence[str] = (), env: Mapping[str, str] = {}) -> list[str]:
        """The command that runs the image."""
        words = [*image.entrypoint, *(command or image.command)]
        return self.enter(*self._within(image, words, {"HOME": "/", **image.env, **env}, image.user))

    def healthy(self, image: Image) -> bool:
        check = self.enter(*self._within(image, image.healthcheck, image.env, image.user))
        return subprocess.run(check, capture_output=True, timeout=20, check=False).returncode == 0


def steps(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Containerfile, each with its arguments."""
    whole = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", text))
    for line in filter(None, map(str.strip, whole.splitlines())):
        word, _, rest = line.partition(" ")
        yield word, rest.strip()


def missing() -> str:
    """Why images cannot be run on this machine; empty if they can."""
    if os.geteuid() != 0:
        return "namespaces need root"
    return ", ".join(f"no {name}" for name in ("unshare", "nsenter", "setpriv", "ip") if not shutil.which(name))
