"""``python -m vmkeep.transfer``: the child process of one transfer. Only ``child_process`` starts it."""

import os
import sys

from vmkeep.transfer.child import main

status = main()
sys.stderr.flush()
# VDDK's threads and destructors may hang or crash at a normal exit. All our own resources are closed by now.
os._exit(status)
