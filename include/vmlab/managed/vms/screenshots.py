"""Takes a picture of a running VM's console, as a file in the VM's folder that stays until somebody deletes it."""

import struct
import zlib
from itertools import count

from vmlab.api import vim
from vmlab.managed import ds_paths
from vmlab.managed.site import Call, task_method
from vmlab.managed.vms.power import require_power

VM = vim.VirtualMachine
WIDTH, HEIGHT = 64, 40


@task_method(VM, "CreateScreenshot_Task")
def create_screenshot_task(call: Call) -> str:
    """Write a picture, and return its datastore path. The VM has to be on."""
    require_power(call.site, call.this, "poweredOn", wanted="poweredOn")
    with call.world.lock:
        config = call.world.get(call.this, "config")
    vmx = config.files.vmPathName
    datastore, rest = ds_paths.parse(vmx)
    stem = rest.removesuffix(".vmx")
    for number in count(1):
        path = ds_paths.join(datastore, f"{stem}-{number}.png")
        try:
            with ds_paths.local(call.site, path).open("xb") as file:
                file.write(console_picture(config.name))
        except FileExistsError:
            continue
        return path
    raise AssertionError("the numbers do not end")


def console_picture(name: str) -> bytes:
    """Return a picture in the format PNG whose comment is the name of its VM."""
    colour = struct.pack(">I", zlib.crc32(name.encode()))[:3]
    rows = (b"\0" + colour * WIDTH) * HEIGHT
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"iTXt", _comment(name)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _comment(text: str) -> bytes:
    return b"Comment\0\0\0\0\0" + text.encode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
