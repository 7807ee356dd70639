"""``vmkeep catalog``: rebuild the SQL cache from the repository, and check the quality of its data."""

from __future__ import annotations

from datetime import tzinfo
from pathlib import Path

import click

from vmkeep.cli.countline import passing_line
from vmkeep.cli.left_out import tell_left_out
from vmkeep.cli.options import (
    catalog_url,
    json_option,
    open_given,
    policies_option,
    repository_option,
    vcenter_from,
    vsphere_options,
)
from vmkeep.cli.output import print_json
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.policy_folder import read_policies
from vmkeep.cli.retention_options import retention_options
from vmkeep.errors import NotFoundError, UsageError
from vmkeep.model.wording import counted
from vmkeep.retention import RetentionRule

_LISTED = 30
"""Earlier checks that are listed."""


@click.group(cls=Verbs)
def catalog() -> None:
    """Rebuild the SQL cache of restore points, and check the quality of its data."""


@catalog.command("rebuild", examples={"Read every manifest again": "vmkeep catalog rebuild -r /backup/repo"})
@repository_option
@json_option
def rebuild(repository: str | None, as_json: bool) -> None:
    """Empty the catalog for this repository, and read every manifest again.

    The exit code is 90 when a manifest is damaged.
    """
    from vmkeep.flows import pointlist  # takes time to import

    with open_given(repository) as opened:
        refreshed = pointlist.rebuild_catalog(opened, catalog=catalog_url())
    if as_json:
        print_json(refreshed)
    else:
        click.echo(f"{counted(refreshed.added, 'restore point')} entered, {len(refreshed.damaged)} damaged")
    tell_left_out(refreshed)


@catalog.command(
    "quality",
    examples={
        "Check all points against the policies and the vCenter": "vmkeep catalog quality --vcenter vc01 --user backup",
        "Write the report as a page for people": "vmkeep catalog quality --html quality.html",
        "Note also which points go next, by the rule of your prunes": "vmkeep catalog quality --keep-daily 14",
        "See how the last checks ended": "vmkeep catalog quality --history",
        "Write the last report of Airflow as a page": "vmkeep catalog quality --last --html quality.html",
    },
)
@option("--html", section=Section.WHAT, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
        help="Write the report as one page of HTML.")  # fmt: skip
@option("--history", section=Section.WHAT, is_flag=True, help="Check nothing, and list the results of the last checks.")
@option("--last", section=Section.WHAT, is_flag=True, help="Check nothing, and show the last report again.")
@retention_options
@policies_option
@repository_option
@vsphere_options
@json_option
def quality(
    html: Path | None, history: bool, last: bool, rule: RetentionRule | None, zone: tzinfo, policies: Path | None,
    repository: str | None, as_json: bool, **vsphere: str | None,
) -> None:  # fmt: skip
    """Check the data quality of all restore points by a suite of Great Expectations.

    Every VM of a policy has a young point, no disk is missing, sizes and maps fit, catalog and repository tell the
    same, proofs are young, and each VM's newest point is like those before it. Each finding says what it means and what
    to do. All policies of the folder count, with the repository and the vCenter that are named here.

    With the options of the rule that 'vmkeep repo prune' is given, the points that go next are noted for the web view,
    as Airflow's check does by the rule of its connection. The result of the check does not depend on them.

    Without a vCenter, the points tell which VMs there are, so that a VM that nobody backs up is not found.
    The exit code is 96 if a finding is a failure, or if something could not be looked at, e.g. because the vCenter did
    not answer. The last 100 reports stay in the catalog.
    """
    from vmkeep.cli.catalog_quality import show_past, show_quality  # takes time to import
    from vmkeep.flows.capacity import RetentionTerms
    from vmkeep.flows.pruning import rules_of
    from vmkeep.flows.quality import Inventory, check_quality, past_reports

    if history and (last or html is not None):
        raise UsageError("--history lists earlier checks: leave --last and --html out")
    with open_given(repository) as opened:
        if history:
            show_past(past_reports(opened, catalog=catalog_url(), most=_LISTED), as_json=as_json)
            return
        if last:
            if not (found := past_reports(opened, catalog=catalog_url(), most=1)):
                raise NotFoundError("the catalog has no report of this repository: run 'vmkeep catalog quality'")
            show_quality(found[0], html=html, as_json=as_json)
            return
        files = read_policies(policies)
        sound = tuple(read.policy for read in files if read.policy is not None)
        faulty = [f"{read.path} has faults: run 'vmkeep policy check'" for read in files if read.faults]
        asked = [Inventory(vcenter=vcenter_from(**vsphere), policies=sound)] if vsphere["vcenter"] else []
        terms = None if rule is None else RetentionTerms(rule=rule, zone=zone, policies=rules_of(files))
        with passing_line("checking the points; Great Expectations takes some seconds to load …", hidden=as_json):
            report = check_quality(opened, sound, asked, catalog=catalog_url(), gaps=faulty, retention=terms)
    show_quality(report, html=html, as_json=as_json)
