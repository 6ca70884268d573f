"""`roomcast key`."""

from __future__ import annotations

import click

from roomcast.auth.keys import new_key, sha256


def _row(name: str, key: str) -> str:
    return (
        f'[[key]]\nname = "{name}"\nsha256 = "{sha256(key)}"\n'
        'read = ["*"]      # rooms, and prefixes that end in *\npublish = ["*"]'
    )


@click.command("key")
@click.argument("name")
def command(name: str) -> None:
    """Make a key, and the rows of the configuration that know it.

    The key alone is printed on stdout, once: nothing keeps it. The rows for the file of --config are printed on
    stderr; they hold the key's hash, so that whoever reads the file has no key."""
    try:
        key = new_key(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None
    click.echo(_row(name, key), err=True)
    click.echo(key)
