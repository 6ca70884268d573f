"""The routes of the API: they know requests and answers, but no sockets."""
