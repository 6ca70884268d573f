"""From the log to each follower: the tail reads the log, the hub keeps a window, streams write to connections."""
