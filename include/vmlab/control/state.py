"""The lab's state in plain JSON: sessions, VMs with snapshots and disks, NFC sessions, calls by method; or counts."""

from collections import Counter
from typing import Any

from vmlab.api import vim
from vmlab.managed.machine import backing_chain, disks
from vmlab.managed.site import Site
from vmlab.managed.vms import relocation_blockers
from vmlab.nfc import NfcServer


def describe(site: Site, nfc: NfcServer) -> dict[str, Any]:
    """Return everything that a test asks about."""
    with site.world.lock:
        vms = [_vm(site, vm) for vm in site.world.all(vim.VirtualMachine)]
        tasks = [site.world.get(ref, "info") for ref in site.tasks.recent()]
        running = [
            f"{info.descriptionId} of {info.entityName}" for info in tasks if info.state in ("queued", "running")
        ]
    return {
        "sessions": [{"user": s.user, "key": s.info.key, "calls": s.info.callCount} for s in site.sessions.all()],
        "vms": vms,
        "running_tasks": running,
        "nfc": [
            {"host": s.host, "path": s.ds_path, "read_only": s.read_only, "transport": s.transport}
            for s in nfc.sessions()
        ],
        "calls": dict(site.faults.calls),
    }


def count(site: Site, nfc: NfcServer) -> dict[str, Any]:
    """Return what can be told in a moment of a lab with thousands of VMs."""
    with site.world.lock:
        trees = [site.world.get(vm, "snapshot") for vm in site.world.all(vim.VirtualMachine)]
    most, refused = nfc.most_sessions()
    return {
        "vms": len(trees),
        "vms_with_snapshots": sum(tree is not None for tree in trees),
        "sessions": len(site.sessions.all()),
        "nfc": Counter(session.host for session in nfc.sessions()),
        "nfc_most": most,
        "nfc_refused": refused,
        "calls": dict(site.faults.calls),
    }


def _vm(site: Site, vm: Any) -> dict[str, Any]:
    config, runtime, info = (site.world.get(vm, name) for name in ("config", "runtime", "snapshot"))
    return {
        "moref": vm._moId,
        "name": site.world.get(vm, "name"),
        "vmx": config.files.vmPathName,
        "instance_uuid": config.instanceUuid,
        "power": runtime.powerState,
        "template": config.template,
        "change_tracking": bool(config.changeTrackingEnabled),
        "consolidation_needed": bool(runtime.consolidationNeeded),
        "current_snapshot": info.currentSnapshot._moId if info is not None and info.currentSnapshot else None,
        "snapshots": [_node(node) for node in info.rootSnapshotList] if info is not None else [],
        "held_by": relocation_blockers(site, vm),
        "disks": [_disk(disk) for disk in disks(config)],
    }


def _node(node: Any) -> dict[str, Any]:
    return {
        "moref": node.snapshot._moId,
        "name": node.name,
        "quiesced": node.quiesced,
        "state": node.state,
        "children": [_node(child) for child in node.childSnapshotList],
    }


def _disk(disk: Any) -> dict[str, Any]:
    return {
        "key": disk.key,
        "label": disk.deviceInfo.label,
        "capacity": int(disk.capacityInBytes),
        "path": disk.backing.fileName,
        "chain": [backing.fileName for backing in backing_chain(disk.backing)],
        "backing": type(disk.backing).__name__.rpartition(".")[2],
        "uuid": disk.backing.uuid,
    }
