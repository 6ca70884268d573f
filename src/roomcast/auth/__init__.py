"""Who asks, and whether they may: principals, grants and credentials."""
