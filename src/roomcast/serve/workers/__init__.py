"""`--workers`: a supervisor, a process for the log, and the workers, which are the server of one process over
`log/remote`."""
