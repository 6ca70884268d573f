"""Data and its rules, without I/O: messages, rooms, errors, the shapes of answers, the settings."""
