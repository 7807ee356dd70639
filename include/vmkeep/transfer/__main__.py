"""``python -m vmkeep.transfer``: the child process of one transfer; only ``child_process`` starts it."""

import os
import sys

from vmkeep.transfer.child import main

status = main()
sys.stderr.flush()
# VDDK's own threads and destructors may hang or crash at a normal exit; everything of ours is closed by now.
os._exit(status)
