"""Reports for people who do not watch: service levels, one window, an audit, and cost. Each is made of the repository.

``past`` gathers the facts: the points by the catalog, with their policies and marks, the proofs, the recoveries, and
the locks if somebody asks for them. ``levels``, ``windows``, ``audits`` and ``costs`` each make a report of them, and
ask no store, no vCenter and no clock. A report is a few tables of plain values (``values``), so that ``page`` (HTML),
``sheet`` (CSV) and a document in JSON show all of them in one way.

A failed backup leaves nothing in a repository. So no report counts failures. It counts what they cost: the times at
which a VM's newest good point was older than its policy allows, and the VMs that a window has left without a point.
"""

from vmkeep.flows.reports.audits import audit_report
from vmkeep.flows.reports.costs import cost_report
from vmkeep.flows.reports.levels import level_report
from vmkeep.flows.reports.page import html_page
from vmkeep.flows.reports.past import Past, gather
from vmkeep.flows.reports.sheet import csv_sheet
from vmkeep.flows.reports.values import Kind, Report, Table, document_of, shown
from vmkeep.flows.reports.windows import window_report

__all__ = [
    "Kind", "Past", "Report", "Table", "audit_report", "cost_report", "csv_sheet", "document_of", "gather", "html_page",
    "level_report", "shown", "window_report",
]  # fmt: skip
