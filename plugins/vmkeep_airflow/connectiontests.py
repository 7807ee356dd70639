"""Words an examination for the button *Test* of a connection's form."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkeep.flows.doctor import Subject


def tell_test(subject: Subject) -> tuple[bool, str]:
    """Examine one part of the installation. Return whether there is no fault, and a line for each finding.

    The checks are those of ``vmkeep doctor``, but this machine is the one of Airflow's API server, and no proxy.
    """
    from vmkeep.flows.doctor import State, examine

    report = examine([subject])
    order = (State.FAULT, State.WARNING, State.UNKNOWN)
    lines = [check.in_words for state in order for check in report.checks if check.state is state]
    good = [check.name for check in report.checks if check.state is State.OK]
    if good:
        lines.append(f"ok: {', '.join(dict.fromkeys(good))}")
    return report.fit, "\n".join(lines)
