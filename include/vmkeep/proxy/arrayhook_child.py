"""Runs an array hook in Python: the facts come on stdin, and the answer goes into the file that is named for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from vmkeep.model.arrayhook import HookEvent, HookFacts
from vmkeep.model.job import from_json, to_json
from vmkeep.proxy.arrayhook import ANSWER, load_hook


def main(name: str) -> None:
    """Call one method of a hook. An exception ends this process with a traceback, which goes into the log."""
    facts = from_json(HookFacts, sys.stdin.buffer.read())
    hook = load_hook(name)
    if facts.event is HookEvent.AFTER:
        hook.after(facts)
    elif (answer := hook.before(facts)) is not None:
        Path(os.environ[ANSWER]).write_bytes(to_json(answer))


if __name__ == "__main__":
    main(sys.argv[1])
