"""`--workers`: a supervisor, a process for the log, and the workers. A worker is the server of one process, over
`log/remote` or a shared database."""
