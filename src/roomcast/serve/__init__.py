"""The process of `roomcast serve`: its options, sockets, log lines and signals. `workers/` is the server of
several processes."""
