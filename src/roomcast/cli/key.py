"""`roomcast key`."""

from __future__ import annotations

import click

from roomcast.auth.keys import new_key, sha256


def _row(name: str, key: str) -> str:
    return (
        f'[[key]]\nname = "{name}"\nsha256 = "{sha256(key)}"\n'
        'read = ["*"]      # names of rooms, and prefixes with * at the end\npublish = ["*"]'
    )


@click.command("key")
@click.argument("name")
def command(name: str) -> None:
    """Make a key, and its entry for the configuration file.

    The key is printed on stdout, and stored nowhere. Its entry for the file of --config is printed on stderr. The
    entry holds only the key's hash: nobody can get the key from the file."""
    try:
        key = new_key(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None
    click.echo(_row(name, key), err=True)
    click.echo(key)
