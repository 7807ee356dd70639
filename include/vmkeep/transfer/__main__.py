"""``python -m vmkeep.transfer``: the child process of one transfer. Only ``child_process`` starts it."""

import gc
import os
import sys


def run() -> int:
    """Import the child's code and run its request; return the exit status."""
    # Before the imports, because a twentieth of their time went into looking for garbage that they do not make.
    gc.set_threshold(50_000)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start a thread for each core, which spins first
    from vmkeep.transfer.child import main

    return main()


status = run()
sys.stderr.flush()
# VDDK's threads and destructors may hang or crash at a normal exit. All our own resources are closed by now.
os._exit(status)
