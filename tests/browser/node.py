"""The module in Node: what does not depend on a browser is tested in a fifth of the time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import require
from tests.running import PATIENCE

MODULE = Path(__file__).parents[2] / "src/roomcast/page/roomcast.js"


def node(script: str, folder: Path) -> Any:
    """Runs a module with the exports of `roomcast.js` in scope; returns the JSON that it prints."""
    file = folder / "script.mjs"
    file.write_text(f"import * as roomcast from {json.dumps(MODULE.as_uri())};\n{script}")
    done = subprocess.run([require("node"), file], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
