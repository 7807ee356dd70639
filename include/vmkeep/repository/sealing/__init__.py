"""Seals restore points safely while maintenance may be deleting packs.

A point is sealed by creating its manifest. Before that, everything that the point names has to be there, and has to
stay. Sealing and sweeping agree on this without a lock. The sealer puts an *intent* and then looks for sweeps; a sweep
puts its record and then looks for intents (``handshake``). So at least one of the two sees the other. If the sealer
cannot be sure that all blocks are there, it walks the whole new map and looks for each page and block.

``committing`` performs the seal. It puts the intent, looks for sweeps, walks the map if need be, looks whether another
try of the run has sealed its point, puts the manifest, and looks whether the intent still stands.
"""

from vmkeep.repository.sealing.committing import commit, root_digest

__all__ = [
    "commit",
    "handshake",
    "root_digest",
]
