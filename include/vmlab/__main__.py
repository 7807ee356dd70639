"""`python -m vmlab` is the `vmlab` command."""

from vmlab.cli import main

main(prog_name="vmlab")
