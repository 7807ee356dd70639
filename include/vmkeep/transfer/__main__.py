"""``python -m vmkeep.transfer``: the child process of one transfer. Only ``child_process`` starts it."""

import gc
import os
import sys

# Set before the imports, because a tenth of their time went into looking for garbage that they do not make.
gc.set_threshold(50_000)

from vmkeep.transfer.child import main  # noqa: E402

status = main()
sys.stderr.flush()
# VDDK's threads and destructors may hang or crash at a normal exit. All our own resources are closed by now.
os._exit(status)
