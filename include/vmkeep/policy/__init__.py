"""Decisions over plain values, without a look at any system: which restore points a rule keeps."""

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
