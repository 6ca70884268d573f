"""Tools of the developers: they write files that are kept in the repository."""
