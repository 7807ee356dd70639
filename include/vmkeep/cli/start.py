"""The installed command: takes charge of interruptions before it loads anything that takes time."""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import NoReturn

from vmkeep.cli.interrupts import catch_interrupts, raise_waiting
from vmkeep.errors import CancelledError
from vmkeep.privacy import hide_memory


def start() -> NoReturn:
    """Load the command line and run it; an interruption while it loads ends it without a traceback, too."""
    catch_interrupts()
    hide_memory()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start a thread for each core, which spins first
    gc.set_threshold(200_000)  # before the imports, because they make no garbage, and looking for it takes time
    try:
        from vmkeep.cli.main import main

        raise_waiting()
        main()
    except KeyboardInterrupt:  # nothing has begun yet
        if "--json" in sys.argv:
            document = {"error": "interrupted", "class": CancelledError.__name__, "recovery": CancelledError.recovery}
            sys.stdout.write(f"{json.dumps(document, indent=2)}\n")
        sys.stderr.write("vmkeep: interrupted\n")
        sys.exit(CancelledError.exit_code)
    finally:
        gc.freeze()  # a seventh of a short command went into looking for garbage when its process was about to end
