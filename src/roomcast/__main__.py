"""`python -m roomcast`."""

from roomcast.cli import main

main(prog_name="roomcast")
