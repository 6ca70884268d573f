"""A client for Rust, built with cargo."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import copy

_CARGO = """[package]
name = "follow"
version = "0.1.0"
edition = "2021"

[[bin]]
name = "follow"
path = "follow.rs"

[dependencies]
futures-util = { version = "0.3", default-features = false }
reqwest-eventsource = "=0.6.0"
serde_json = "1"
tokio = { version = "1", features = ["macros", "rt"] }
"""


def _reqwest_eventsource(folder: Path, url: str) -> list[str]:
    place = folder / "reqwest-eventsource"
    if not (place / "target/debug/follow").exists():
        place.mkdir(parents=True, exist_ok=True)
        (place / "Cargo.toml").write_text(_CARGO)
        copy(Path(__file__).with_name("follow.rs"), place)
        subprocess.run(["cargo", "build", "--quiet"], cwd=place, check=True)
    return [str(place / "target/debug/follow"), url]


COMMANDS = {"reqwest-eventsource": _reqwest_eventsource}
