"""From a digest to the place of its frame.

Each process that stores packs also stores a *segment*: a sorted, immutable table of digests and places, with a filter
in front that answers most misses (``segments``, ``filters``, ``smallsegments``). Nobody rewrites a segment, so any
number of writers need no lock. The index is the union of all segments (``index``).

Segments are loaded in one of three ways: mapped from the folder, from this machine's cache, or read from the store.
Each is verified once (``segmentloader``, ``segmentcache``). Many small ones are merged for the processes that come
later (``mergedsegments``), and in the store as well once several have gathered (``gathered``). A segment too large for
memory is searched by small reads (``largesegments``). Maintenance cuts a large index into segments of disjoint ranges;
such a *row* is asked as one (``disjoint``).

``columns`` and ``merging`` treat many entries at a time and load numpy. They are doors of their own, because a small
backup needs neither module and must not wait for numpy.
"""

from vmkeep.repository.index.disjoint import without_overlap
from vmkeep.repository.index.gathered import MANY, gathered
from vmkeep.repository.index.index import Index, segment_key
from vmkeep.repository.index.layout import HEADER, MAX_BLOB, Location
from vmkeep.repository.index.segmentcache import default_cache
from vmkeep.repository.index.segmentloader import SegmentLoader
from vmkeep.repository.index.segments import Segment

__all__ = [
    "HEADER",
    "MANY",
    "MAX_BLOB",
    "Index",
    "Location",
    "Segment",
    "SegmentLoader",
    "columns",
    "default_cache",
    "gathered",
    "merging",
    "segment_key",
    "without_overlap",
]
