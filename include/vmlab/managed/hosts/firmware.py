"""The bundle of a host's configuration: the host makes it on demand, and gives it on its own port.

It is a .tgz with `Manifest.txt`, by which a restore recognises release and host, and `state.tgz`, which holds the
files of the host's `/etc`. A host keeps the newest bundle only, so an older URL leads nowhere.
"""

import io
import tarfile
import uuid
from typing import Any

from vmlab.api import vim
from vmlab.managed.hosts.compute import host_about
from vmlab.managed.hosts.host_states import require_connected
from vmlab.managed.properties import read_property
from vmlab.managed.site import Bundle, Call, Site, method
from vmlab.managed.vcenter import host_of_manager

DOWNLOADS = "/downloads/"


@method(vim.host.FirmwareSystem, "BackupFirmwareConfiguration")
def back_up_configuration(call: Call) -> str:
    """Make the host's bundle; return its URL, in which `*` stands for the host and which names no HTTPS."""
    host = host_of_manager(call.site, call.this)
    require_connected(call.site, host)
    name = str(call.world.get(host, "name"))
    path = f"{DOWNLOADS}{uuid.uuid4()}/configBundle-{name}.tgz"
    call.site.bundles[host._moId] = Bundle(path=path, content=_bundle(call.site, host, name))
    return f"http://*{path}"


def _bundle(site: Site, host: Any, name: str) -> bytes:
    about, summary = host_about(site, host), read_property(site, host, "summary")
    settings = f'/adv/Misc/HostName = "{name}"\n/system/uuid = "{summary.hardware.uuid}"\n'
    local = _tgz({"etc/vmware/esx.conf": settings.encode(), "etc/hosts": b"127.0.0.1 localhost\n"})
    manifest = (
        f"RELEASELEVEL={about.name} {about.version}\nUUID={str(summary.hardware.uuid).upper()}\n"
        "KERNELOPTS=autoPartition=FALSE\nUSEROPTS=\n"
    )
    return _tgz({"Manifest.txt": manifest.encode(), "state.tgz": _tgz({"local.tgz": local})})


def _tgz(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
