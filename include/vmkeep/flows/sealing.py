"""Seals the copies of one snapshot as a restore point: complete, of one snapshot, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC

from vmkeep.errors import StaleError
from vmkeep.flows import lun_reads
from vmkeep.flows.backup_values import Preflight, Sealed, SnapshotTaken
from vmkeep.flows.connect import open_vsphere, require_server
from vmkeep.flows.entering import enter_point
from vmkeep.flows.read_as_it_is import require_untouched
from vmkeep.model.fullreason import FullReason, count_reasons
from vmkeep.model.job import DiskCopy
from vmkeep.model.point import DiskImage, Power, RestorePoint
from vmkeep.model.quiescing import QuiesceRequest
from vmkeep.model.site import Site
from vmkeep.repository import open_site_repository, point_id


def seal(site: Site, pre: Preflight, taken: SnapshotTaken, copies: Sequence[DiskCopy]) -> Sealed:
    """Write the manifest. With it the restore point exists.

    :raises StaleError: copies are of several snapshots, a disk is missing, or a VM read without a snapshot was touched.
    """
    _check_complete(pre, taken, copies)
    if taken.snapshot is None:
        with open_vsphere(site) as session:
            require_server(session, pre.vm.vcenter, pre.vm.name)
            require_untouched(session, pre, taken, [copy.disk for copy in copies])
    point = _point(pre, taken, copies)
    with open_site_repository(site) as repository:
        labels = [image.disk.label for image in point.images]
        if doubt := pre.half_written or taken.half_written:
            repository.marks.suspect_ahead(point.ref, labels, reason=doubt)
        ref = repository.seal(point, begun=_begun(taken, copies))
        if doubt and ref != point.ref:  # an earlier try has sealed it
            for label in labels:
                repository.marks.suspect(ref, label, reason=doubt)
        enter_point(site, repository.id, point)
    return _sealed(ref, point, copies)


def _point(pre: Preflight, taken: SnapshotTaken, copies: Sequence[DiskCopy]) -> RestorePoint:
    return RestorePoint(
        id=_point_id(pre, taken),
        vm=pre.vm,
        taken_at=taken.taken_at,
        run=pre.request.run,
        mode_asked=pre.request.mode,
        mode_used=pre.mode,
        quiesce_asked=pre.request.quiesce,
        consistency=taken.consistency,
        images=tuple(_image(pre, copy) for copy in sorted(copies, key=lambda copy: copy.disk.key)),
        skipped=tuple(disk for disk in pre.disks if disk.skip is not None),
        warnings=(*pre.warnings, *taken.warnings, *lun_reads.warnings_of(copies), *_alarms(copies)),
        power=Power.ON if pre.running else Power.SUSPENDED if pre.suspended else Power.OFF,
        quiesce_required=pre.request.quiesce_required,
        quiesce_used=taken.quiesced,
        changes=(*pre.changes, *taken.changes),
        guest_commands=taken.guest_commands,
        policy=pre.request.policy,
        attachments=taken.attachments | {f"extents/{copy.disk.key}": copy.extents for copy in copies},
        attachment_sizes=taken.attachment_sizes | {f"extents/{copy.disk.key}": copy.extents_size for copy in copies},
    )


def _image(pre: Preflight, copy: DiskCopy) -> DiskImage:
    return DiskImage(
        disk=copy.disk,
        root=copy.root,
        kind=copy.kind,
        reason=copy.reason,
        change_id=copy.change_id,
        bytes_read=copy.bytes_read,
        bytes_stored=copy.bytes_stored,
        full_reason=copy.full_reason,
        transport=copy.transport,
        transports_asked=tuple(pre.request.transports),
        audit=copy.audit,
        access=copy.access,
        lun=copy.lun,
        seconds=None if copy.resumed_at else round(copy.seconds, 3),
    )


def _sealed(ref: str, point: RestorePoint, copies: Sequence[DiskCopy]) -> Sealed:
    images = point.images
    return Sealed(
        point=ref,
        vm=point.vm.name,
        kind=point.kind,
        consistency=point.consistency,
        mode_asked=point.mode_asked,
        mode_used=point.mode_used,
        quiesce_asked=str(QuiesceRequest(level=point.quiesce_asked, required=point.quiesce_required)),
        quiesce_used=point.quiesce_used or "",
        changes=point.changes,
        disks_copied=len(images),
        disks_skipped=len(point.skipped),
        bytes_read=sum(image.bytes_read for image in images),
        bytes_stored=sum(image.bytes_stored for image in images),
        full_reads=count_reasons(image.full_reason for image in images),
        transports=tuple(sorted({image.transport for image in images if image.transport})),
        bytes_audited=sum(image.audit.bytes_read for image in images if image.audit),
        lies=sum(image.audit.lies for image in images if image.audit),
        suspects=tuple(sorted({suspect for copy in copies for suspect in copy.suspects})),
        warnings=point.warnings,
    )


def _alarms(copies: Sequence[DiskCopy]) -> list[str]:
    """Return a warning for each disk about which change tracking lied, because earlier points may be wrong."""
    alarms = []
    for copy in copies:
        if copy.full_reason is FullReason.TRACKING_LIED:
            marked = (
                f"; marked suspect: {', '.join(copy.suspects)}" if copy.suspects else "; no earlier point is in doubt"
            )
            alarms.append(f"{copy.disk.label} was read in full: {copy.reason}{marked}")
    return alarms


def _begun(taken: SnapshotTaken, copies: Sequence[DiskCopy]) -> str | None:
    """Return the one try in which all parts were found and stored; ``None``: some part does not tell its try."""
    return taken.begun if taken.begun and all(copy.begun == taken.begun for copy in copies) else None


def _point_id(pre: Preflight, taken: SnapshotTaken) -> str:
    """Return one id for every try to seal these copies, and another once the run has taken a new snapshot."""
    vm = f"{pre.vm.vcenter}:{taken.vm}"  # because another vCenter may give out the same ids
    moment = f"{vm}:{taken.snapshot}:{taken.taken_at.astimezone(UTC).isoformat()}"
    return point_id(pre.request.run, pre.vm.key, moment)


def _check_complete(pre: Preflight, taken: SnapshotTaken, copies: Sequence[DiskCopy]) -> None:
    strangers = {copy.snapshot for copy in copies} - {taken.snapshot}
    if strangers:
        raise StaleError(
            f"VM {pre.vm.name}: copies of other snapshots ({', '.join(map(str, strangers))}) than {taken.snapshot} are "
            "in this run; this try seals nothing, and a point that the run has sealed before stays as it is: trigger a "
            "new run instead of clearing single tasks"
        )
    copied = Counter(copy.disk.key for copy in copies)
    wanted = {disk.key: disk.label for disk in pre.disks if disk.skip is None}
    wrong = [f"{label}: {copied[key]} copies" for key, label in wanted.items() if copied[key] != 1]
    wrong += [f"disk {key}: not asked for" for key in copied if key not in wanted]
    if wrong:
        raise StaleError(
            f"VM {pre.vm.name}: not every disk was copied exactly once ({', '.join(wrong)}); this try seals nothing: "
            "trigger a new run"
        )
