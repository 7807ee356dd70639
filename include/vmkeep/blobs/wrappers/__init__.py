"""Stores around stores: each adds one thing to another store and passes every call on.

``retrying`` repeats calls that failed for a moment, ``settling`` finds out whether a create whose reply was lost took
place, ``throttled`` keeps to a rate that all processes of a machine share (``rates``, ``timetables``), and ``metered``
counts calls. ``wrapping`` is their common base. ``vmkeep.blobs.opening`` puts them around a store in one order.
"""

from vmkeep.blobs.wrappers.metered import Meter, MeteredStore, VerbMeter
from vmkeep.blobs.wrappers.rates import parse_rates
from vmkeep.blobs.wrappers.retrying import RetryingStore
from vmkeep.blobs.wrappers.settling import SettlingStore
from vmkeep.blobs.wrappers.throttled import Pace, ThrottledStore
from vmkeep.blobs.wrappers.timetables import timetable_for
from vmkeep.blobs.wrappers.wrapping import WrappingStore

__all__ = [
    "Meter",
    "MeteredStore",
    "Pace",
    "RetryingStore",
    "SettlingStore",
    "ThrottledStore",
    "VerbMeter",
    "WrappingStore",
    "parse_rates",
    "timetable_for",
]
