"""Data quality: a suite of expectations over the catalog, which Great Expectations asks the database.

``suite`` lists the expectations. Each has an id that scripts may rely on, says in words what it means and what to do,
and has a severity, which a policy may raise or lower for its VMs. Their SQL is in :mod:`vmkeep.catalog`, because only
the catalog speaks SQL: each is one SELECT of the rows that should not be there. ``checkpoint`` asks them, by a
checkpoint of Great Expectations, without any connection but the one to the database. ``judging`` makes a report of the
answers, and ``page`` a page of HTML that loads nothing.

Nothing here reads a repository or asks a vCenter: :mod:`vmkeep.flows.quality` lays out the evidence first.
"""

from vmkeep.quality.checkpoint import Answer, ask
from vmkeep.quality.judging import judge
from vmkeep.quality.page import page
from vmkeep.quality.suite import SUITE
from vmkeep.quality.values import Expectation, Finding, Judgement, QualityReport, Severity

__all__ = [
    "SUITE",
    "Answer",
    "Expectation",
    "Finding",
    "Judgement",
    "QualityReport",
    "Severity",
    "ask",
    "judge",
    "page",
]
