"""`python -m vmlab` is the `vmlab` command."""

import gc


def run() -> None:
    """Import the command and run it."""
    # Before the imports, because a seventh of a lab's start went into looking for garbage that it does not make.
    gc.set_threshold(50_000)
    from vmlab.cli import main

    main(prog_name="vmlab")


run()
