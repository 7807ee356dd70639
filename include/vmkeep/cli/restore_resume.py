"""``vmkeep restore resume``: go on with a restore that was killed, or that failed and kept its VM."""

from __future__ import annotations

import click

from vmkeep.cli.options import json_option, repository_option, site_from, vddk_option, vsphere_options
from vmkeep.cli.output import warn
from vmkeep.cli.pages import command
from vmkeep.cli.restore_steps import carry_out, restored_words


@command("resume", examples={"Go on with a restore whose machine was reset": "vmkeep restore resume cli-4f2a9c0d1e7b"})
@click.argument("run", metavar="RUN")
@repository_option
@vsphere_options
@vddk_option
@json_option
def resume(run: str, repository: str | None, vddk: str | None, as_json: bool, **vsphere: str | None) -> None:
    """Go on with a restore that was killed, or that failed and kept its VM.

    A restore keeps its VM if it was started with '--on-failure keep'. RUN is the run that the restore named before its
    first write. The VM's advanced settings have it, too: 'vmkeep.run' of a new VM, 'vmkeep.restoring' of one that
    existed. The restore is carried out as it was planned. Of each disk only the rest is written, once a sample shows
    that the disk holds what was written before. At any doubt, for example if somebody has started the VM meanwhile,
    the whole disk is written.
    """
    from vmkeep.flows.resumed_restores import resume_restore  # takes time to import

    site = site_from(repository=repository, vddk=vddk, **vsphere)
    carry_out(lambda bars, _show: resume_restore(site, run, bars=bars, announce=warn), restored_words, as_json=as_json)
