"""The list of all files in a restore point, packed so that a name is found without reading the point.

``patterns`` turns what a person types into a search that takes no longer for a hostile pattern or path. ``parts`` packs
entries into parts of at most some megabytes and searches them; a part is read whole, and many are never needed at once.
Where the parts are kept is the repository's business. ``docs/format.md`` describes their bytes.
"""

from vmkeep.fileindex.parts import IndexedFile, pack, search
from vmkeep.fileindex.patterns import Pattern

__all__ = ["IndexedFile", "Pattern", "pack", "search"]
