"""`python -m roomcast`."""

from roomcast.cli.main import main

main(prog_name="roomcast")
