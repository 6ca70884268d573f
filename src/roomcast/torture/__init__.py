"""Attacks a running server from outside, and says which of its promises broke.

It shares no code with the server: its own HTTP, its own reader of event streams, its own idea of what must be
true. So it also finds a mistake that shared code would make on both sides.
"""
