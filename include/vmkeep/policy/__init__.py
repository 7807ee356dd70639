"""Decisions over plain values, without a look at any system: which restore points a rule keeps.

``retention`` marks points and removes none. The newest good point of an hour, day, week, month or year stands for it,
and the newest of these stay, as many as the rule says. Pinned points, the newest good point of a VM, and points from
the future stay in any case; a damaged point stands for nothing.

``wording`` reads rules and time zones as people write them, and ``durations`` lengths of time. ``forecast`` guesses
which points come next, to show what a rule would keep later.
"""

from vmkeep.policy.durations import parse_duration
from vmkeep.policy.forecast import expected_points
from vmkeep.policy.retention import Cause, KeepReason, PointFacts, RetentionDecision, RetentionRule, decide, left_bare
from vmkeep.policy.wording import make_rule, parse_rule, parse_zone

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
