"""The log in a SQLite file: `log` opens it for a server; `backup` and `examination` need no server."""
