"""Data and its rules: messages, rooms, errors, the shapes of answers, the settings. The only I/O is reading files
that the configuration names, and the limits of the machine."""
