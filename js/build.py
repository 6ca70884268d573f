"""Makes the npm package: the module as the server serves it, its types, and the archive to publish.

    python js/build.py FOLDER

It needs Node, npm and the TypeScript of tests/interop."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from roomcast.http.page import module_bytes

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/roomcast/page/roomcast.js"
TYPESCRIPT = ROOT / "tests/interop/node_modules/typescript/bin/tsc"


def build(folder: Path) -> Path:
    """Writes the package to `folder`/package, and its archive beside it. Returns the archive's path. Raises
    `CalledProcessError` if Node or npm fails."""
    folder = folder.resolve()  # npm runs elsewhere
    package = folder / "package"
    package.mkdir(parents=True)
    for file in ("package.json", "README.md"):
        shutil.copy(ROOT / "js" / file, package)
    shutil.copy(ROOT / "LICENSE", package)
    (package / SOURCE.name).write_bytes(module_bytes())
    _write_types(package)
    _run(["npm", "pack", "--silent", f"--pack-destination={folder}"], package)
    [archive] = folder.glob("roomcast-*.tgz")
    return archive


def _write_types(package: Path) -> None:
    """Writes the types from the JSDoc of the source, since the served file has no comments."""
    flags = [
        "--allowJs",
        "--declaration",
        "--emitDeclarationOnly",
        "--strict",
        "--target",
        "es2024",
        "--module",
        "esnext",
    ]
    libraries = ["--lib", "es2024,dom,dom.iterable,dom.asynciterable", "--moduleResolution", "bundler"]
    _run(["node", str(TYPESCRIPT), *flags, *libraries, "--outDir", str(package), str(SOURCE)], package)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
