"""Takes a picture of the console of a running VM, which shows what no probe asks: a login page, a boot menu, an error.

vSphere writes the picture as a file into the VM's folder. It is fetched by HTTPS, and removed from there.
"""

from __future__ import annotations

import logging

from vmkeep.errors import VmKeepError, VSphereError
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.paths import DatastorePath
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import run_task
from vmkeep.vsphere.vmfiles import FilePlaces, fetch_beside

log = logging.getLogger(__name__)

PNG = b"\x89PNG\r\n\x1a\n"
"""The first bytes of every picture in this format."""
_SUFFIX = ".png"
_SECONDS = 60.0


def take_screenshot(session: Session, moref: str) -> bytes:
    """Return a picture of a VM's console as it is now, in the format PNG.

    :raises VmKeepError: the VM is not on, a privilege is missing, or vSphere does not give the picture.
    """
    what = f"take a picture of the console of VM {moref}"
    with speaking(what):
        told = run_task(
            session,
            session.vm(moref).CreateScreenshot_Task,
            what=what,
            timeout=_SECONDS,
            look=lambda: None,
            again=False,
            result=True,
        )
    places = FilePlaces(session, moref)
    path = DatastorePath.parse(str(told))
    try:
        data = fetch_beside(session, places, path)
    finally:
        _remove(session, places, path)
    if not data.startswith(PNG):
        raise VSphereError(f"{what}: {path} is no picture")
    return data


def _remove(session: Session, places: FilePlaces, path: DatastorePath) -> None:
    """Remove the file of a picture. A failure is logged, because the picture counts."""
    if not places.is_beside(path) or not path.path.lower().endswith(_SUFFIX):
        log.warning("%s stays, because it does not look like a picture of the VM", path)
        return
    what = f"remove {path}"
    try:
        with speaking(what):
            run_task(
                session,
                lambda: session.content.fileManager.DeleteDatastoreFile_Task(str(path), places.datacenter),
                what=what,
                timeout=_SECONDS,
                look=lambda: None,
                again=False,
            )
    except VmKeepError as error:
        log.warning("the picture of a console stays on its datastore: %s", error)
