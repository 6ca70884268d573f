"""The log of another process: the workers' side, the log process's side, and the frames between them."""
