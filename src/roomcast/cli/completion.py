"""`roomcast completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from roomcast.cli.command import Command

_VARIABLE = "_ROOMCAST_COMPLETE"
"""click's own name: with this variable set, the program answers a shell that completes."""


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script for completion in a shell.

    For bash, in ~/.bashrc: eval "$(roomcast completion bash)"; for zsh, in ~/.zshrc: eval "$(roomcast completion
    zsh)"; for fish: roomcast completion fish > ~/.config/fish/completions/roomcast.fish"""
    kind = get_completion_class(shell)
    assert kind
    click.echo(kind(ctx.find_root().command, {}, "roomcast", _VARIABLE).source())
