"""The log in a capped collection of MongoDB. `log` opens it."""
