"""The log in a schema of PostgreSQL. `log` opens it."""
