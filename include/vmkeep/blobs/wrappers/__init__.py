"""Wrappers of a store: each passes every call on to another store and adds one ability.

``retrying`` repeats calls after failures that may pass. ``settling`` finds out whether a blob was created although the
reply was lost. ``throttled`` keeps to a rate that all processes of a machine share (``rates``, ``timetables``), and
that may be changed while it is used (``paces``). ``metered`` counts calls. ``watched`` names a folder that hangs.
``wrapping`` is their common base.
``vmkeep.blobs.opening`` puts them around a store in one order.
"""

from vmkeep.blobs.wrappers.metered import Meter, MeteredStore, VerbMeter
from vmkeep.blobs.wrappers.paces import change_rate, pace_for
from vmkeep.blobs.wrappers.rates import parse_rates
from vmkeep.blobs.wrappers.retrying import RetryingStore
from vmkeep.blobs.wrappers.settling import SettlingStore
from vmkeep.blobs.wrappers.throttled import Pace, ThrottledStore
from vmkeep.blobs.wrappers.watched import WatchedStore
from vmkeep.blobs.wrappers.wrapping import WrappingStore

__all__ = [
    "Meter",
    "MeteredStore",
    "Pace",
    "RetryingStore",
    "SettlingStore",
    "ThrottledStore",
    "VerbMeter",
    "WatchedStore",
    "WrappingStore",
    "change_rate",
    "pace_for",
    "parse_rates",
]
