"""The log of another process: its workers' side, its own side, and the frames between them."""
