"""Makes a restore point true while maintenance may be deleting.

A point is sealed by creating its manifest. Before that, everything it names has to be there, and has to stay.
Sealing and sweeping agree on this without a lock: the sealer puts an *intent* and then looks for sweeps; a sweep puts
its record and then looks for intents (``handshake``). At least one sees the other. If a sealer cannot be sure, it
walks the whole new map and looks for each page and block.

``committing`` performs the seal: intent, look, walk if needed, manifest, look again.
"""

from vmkeep.repository.sealing.committing import commit, require_sealed, root_digest

__all__ = [
    "commit",
    "handshake",
    "require_sealed",
    "root_digest",
]
