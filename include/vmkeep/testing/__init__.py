"""A kit for tests of code that stores blobs: for vmkeep itself, and for storage backends that others write.

``blob_contract`` states the promises of a blob store as a class of tests, which a backend inherits and runs.
``MemoryStore`` is the smallest store that keeps these promises. ``FaultyStore`` fails at the calls that a test names.
``lossy`` is a network that delivers requests and loses replies. ``servers`` starts real servers (SeaweedFS, Moto,
OpenSSH, PostgreSQL), each in its own folder, and ends them with the test.

Nothing in vmkeep imports this package, and only ``blob_contract`` needs pytest. docs/testing-kit.md shows it in use.
"""

from vmkeep.testing.faulty import FaultyStore
from vmkeep.testing.lossy import Lossy, lossy
from vmkeep.testing.memory import MemoryStore

__all__ = [
    "FaultyStore",
    "Lossy",
    "MemoryStore",
    "blob_contract",
    "lossy",
    "servers",
]
