"""Servers for comparison that are programs of this repository."""
