"""Decides which restore points a rule keeps, from plain values and without a look at any system.

``rule`` decides about points and removes none. The newest good point of an hour, day, week, month or year represents
it, and the rule says how many of these stay. Pinned points, the newest good point of a VM, and points from the future
always stay. A damaged point represents nothing. ``policies`` chooses the rule of each VM: that of its policy, or the
repository's own.

``wording`` parses rules and time zones as people write them, and ``durations`` parses lengths of time. ``forecast``
guesses the next points, to show what a rule would keep later.
"""

from vmkeep.retention.durations import parse_duration
from vmkeep.retention.forecast import expected_points
from vmkeep.retention.policies import NO_POLICIES, PolicyRule, PolicyRules, decide_by_policy
from vmkeep.retention.rule import Cause, KeepReason, PointFacts, RetentionDecision, RetentionRule, decide, left_bare
from vmkeep.retention.wording import make_rule, parse_rule, parse_zone

__all__ = [
    "NO_POLICIES",
    "Cause",
    "KeepReason",
    "PointFacts",
    "PolicyRule",
    "PolicyRules",
    "RetentionDecision",
    "RetentionRule",
    "decide",
    "decide_by_policy",
    "expected_points",
    "left_bare",
    "make_rule",
    "parse_duration",
    "parse_rule",
    "parse_zone",
]
