"""Retention: which restore points a rule keeps, decided over plain values and without a look at any system.

``rule`` marks points and removes none. The newest good point of an hour, day, week, month or year stands for it,
and the newest of these stay, as many as the rule says. Pinned points, the newest good point of a VM, and points from
the future stay in any case; a damaged point stands for nothing.

``wording`` reads rules and time zones as people write them, and ``durations`` lengths of time. ``forecast`` guesses
which points come next, to show what a rule would keep later.
"""

from vmkeep.retention.durations import parse_duration
from vmkeep.retention.forecast import expected_points
from vmkeep.retention.rule import Cause, KeepReason, PointFacts, RetentionDecision, RetentionRule, decide, left_bare
from vmkeep.retention.wording import make_rule, parse_rule, parse_zone

__all__ = [
    "Cause",
    "KeepReason",
    "PointFacts",
    "RetentionDecision",
    "RetentionRule",
    "decide",
    "expected_points",
    "left_bare",
    "make_rule",
    "parse_duration",
    "parse_rule",
    "parse_zone",
]
