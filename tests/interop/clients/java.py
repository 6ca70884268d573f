"""Two clients for Java, each built from a small class. Maven fetches the packages."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import copy

HERE = Path(__file__).parent
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>follow</groupId>
  <artifactId>follow</artifactId>
  <version>1</version>
  <dependencies>{}</dependencies>
</project>
"""
_DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"


def _command(program: str, packages: list[str], *options: str) -> Callable[[Path, str], list[str]]:
    def command(folder: Path, url: str) -> list[str]:
        place = folder / program
        if not (place / f"{program}.class").exists():
            _build(place, program, packages)
        return ["java", "-cp", f"{place}:{place}/lib/*", program, url, *options]

    return command


def _build(place: Path, program: str, packages: list[str]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / "pom.xml").write_text(_POM.format("".join(_DEPENDENCY.format(*name.split(":")) for name in packages)))
    fetch = ["mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies", "-DoutputDirectory=lib"]
    subprocess.run(fetch, cwd=place, check=True, capture_output=True)
    sources = [copy(HERE / f"{name}.java", place) for name in (program, "Line")]
    subprocess.run(["javac", "-cp", "lib/*", "-d", ".", *sources], cwd=place, check=True)


_OKHTTP = ["com.squareup.okhttp3:okhttp-sse:5.5.1"]
_SPRING = [
    "org.springframework:spring-webflux:7.0.10",
    "org.springframework:spring-context:7.0.10",
    "io.projectreactor.netty:reactor-netty-http:1.3.7",
]
COMMANDS = {
    "okhttp-sse": _command("FollowOkHttp", _OKHTTP),
    "spring-webflux": _command("FollowWebClient", _SPRING),
    "spring-webflux, repeat and retry": _command("FollowWebClient", _SPRING, "again"),
}
