"""Two clients for Go, each built from a few lines."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

_R3LABS = """package main

import (
	"encoding/json"
	"os"

	"github.com/r3labs/sse/v2"
)

func main() {
	client := sse.NewClient(os.Args[1])
	client.SubscribeRaw(func(event *sse.Event) {
		line, _ := json.Marshal([]string{string(event.Event), string(event.ID), string(event.Data)})
		os.Stdout.Write(append(line, '\\n'))
	})
}
"""
_TMAXMAX = """package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"

	"github.com/tmaxmax/go-sse"
)

func main() {
	request, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, os.Args[1], nil)
	connection := sse.NewConnection(request)
	connection.SubscribeToAll(func(event sse.Event) {
		line, _ := json.Marshal([]string{event.Type, event.LastEventID, event.Data})
		os.Stdout.Write(append(line, '\\n'))
	})
	if err := connection.Connect(); err != nil {
		os.Stderr.WriteString(err.Error() + "\\n")
	}
}
"""


def _command(name: str, program: str) -> Callable[[Path, str], list[str]]:
    def command(folder: Path, url: str) -> list[str]:
        place = folder / name.replace("/", "-")
        if not (place / "follow").exists():
            place.mkdir(parents=True, exist_ok=True)
            (place / "main.go").write_text(program)
            for step in (["mod", "init", "follow"], ["mod", "tidy"], ["build", "-o", "follow", "."]):
                subprocess.run(["go", *step], cwd=place, check=True, capture_output=True)
        return [str(place / "follow"), url]

    return command


COMMANDS = {
    "github.com/r3labs/sse": _command("github.com/r3labs/sse", _R3LABS),
    "github.com/tmaxmax/go-sse": _command("github.com/tmaxmax/go-sse", _TMAXMAX),
}
