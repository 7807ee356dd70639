"""Checks an installation from end to end, and says for each check what to do. It changes nothing in a vCenter.

A *subject* is a part of the installation: a vCenter, a repository, or this machine. It names its checks beforehand and
answers them one after the other, in a thread of its own. ``examination`` runs the subjects side by side and gives each
a time limit. A check whose answer did not come is *not known*, with the reason, and never good.

``vcenters`` asks a vCenter (``certificates``, ``roles_held``, ``reaching`` for its hosts, ``matching_versions`` for
VDDK), ``stores`` asks a repository by a probe that is removed again, and ``proxies`` asks this machine. The command,
the connections' button *Test* in Airflow, and nothing else decide what is good.
"""

from vmkeep.flows.doctor.examination import Answers, Subject, examine
from vmkeep.flows.doctor.proxies import machine_subject
from vmkeep.flows.doctor.stores import repository_subject
from vmkeep.flows.doctor.values import Answer, Check, Report, State
from vmkeep.flows.doctor.vcenters import vcenter_subject

__all__ = [
    "Answer",
    "Answers",
    "Check",
    "Report",
    "State",
    "Subject",
    "examine",
    "machine_subject",
    "repository_subject",
    "vcenter_subject",
]
