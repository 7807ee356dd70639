"""A small Linux that boots from its disk to a log-in prompt on its serial port and on its screen.

It is made from Debian's cloud kernel and BusyBox, without a mount: SYSLINUX in a FAT partition starts it by BIOS and by
EFI. It says ``vmkeep-guest: disk NAME SECTORS MD5`` of every disk that its drivers find, with the digest of the first
64 KiB, and ``root`` may log in without a password.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import struct
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_CACHE: Final = Path(__file__).parent.parent / "var" / "guest"
_VERSION: Final = 1
"""Raise it when anything below changes the image."""
_MIB: Final = 1 << 20
_SIZE: Final = 26 * _MIB
_PARTITION: Final = _MIB
_SYSLINUX: Final = Path("/usr/lib/syslinux")

LOGIN: Final = "vmkeep-guest login:"
DISK: Final = "vmkeep-guest: disk "

_MODULES: Final = (
    "virtio/virtio_ring", "virtio/virtio", "virtio/virtio_pci_legacy_dev", "virtio/virtio_pci_modern_dev",
    "virtio/virtio_pci", "block/virtio_blk", "scsi/scsi_common", "scsi/scsi_mod", "scsi/sd_mod", "scsi/virtio_scsi",
    "scsi/vmw_pvscsi", "ata/libata", "ata/ata_piix",
)  # fmt: skip
"""Drivers in the order in which they load. The kernel has NVMe built in; it has none for AHCI and LSI."""

_CONFIG: Final = """\
SERIAL 0 115200
DEFAULT linux
LABEL linux
  LINUX /vmlinuz
  INITRD /initrd
  APPEND console=tty0 console=ttyS0,115200 quiet tsc=reliable panic=-1 mitigations=off
"""

_START: Final = """\
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in {modules}; do insmod /modules/$module; done
hostname vmkeep-guest
tries=0
while [ -z "$(ls /sys/block | grep -v -e loop -e ram)" ] && [ $tries -lt 20 ]; do sleep 0.1; tries=$((tries + 1)); done
for disk in $(ls /sys/block | grep -v -e loop -e ram); do
  sum=$(head -c 65536 /dev/$disk | md5sum | cut -d' ' -f1)
  echo "vmkeep-guest: disk $disk $(cat /sys/block/$disk/size) $sum" | tee /dev/ttyS0 >/dev/tty1
done
"""

_INITTAB: Final = """\
::sysinit:/start
ttyS0::respawn:/bin/busybox getty -L 115200 ttyS0 vt100
tty1::respawn:/bin/busybox getty 38400 tty1 linux
"""


def guest_image() -> Path:
    """Return the raw image; it is made once for each checkout. Nobody may write to it."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    image = _CACHE / f"linux-{_VERSION}.raw"
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.exists():
            _make(image)
    return image


def _make(image: Path) -> None:
    kernel = _kernel()
    initrd = _CACHE / "initrd"
    initrd.write_bytes(_initrd(kernel))
    partial = image.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write((_SYSLINUX / "mbr" / "mbr.bin").read_bytes().ljust(446, b"\0")[:446])
        sectors = _PARTITION // 512, (_SIZE - _PARTITION) // 512
        file.write(struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x0C, b"\xfe\xff\xff", *sectors))
        file.write(bytes(48) + b"\x55\xaa")
        file.truncate(_SIZE)
    config = _CACHE / "syslinux.cfg"
    config.write_text(_CONFIG)
    at = f"{partial}@@{_PARTITION}"
    _run("mformat", "-i", at, "-T", str(sectors[1]), "-h", "255", "-s", "63", "::")
    _run("syslinux", "--install", "--offset", str(_PARTITION), str(partial))
    _run("mmd", "-i", at, "::/EFI", "::/EFI/BOOT")
    efi = _SYSLINUX.parent / "SYSLINUX.EFI" / "efi64" / "syslinux.efi"
    files = {
        next((kernel / "boot").glob("vmlinuz-*")): "::/vmlinuz",
        initrd: "::/initrd",
        config: "::/syslinux.cfg",
        efi: "::/EFI/BOOT/BOOTX64.EFI",
        _SYSLINUX / "modules" / "efi64" / "ldlinux.e64": "::/EFI/BOOT/ldlinux.e64",
    }
    for source, target in files.items():
        _run("mcopy", "-i", at, str(source), target)
    partial.rename(image)


def _kernel() -> Path:
    """Return the folder with Debian's newest cloud kernel, unpacked. Fetch it if it is not there."""
    folder = _CACHE / "kernel"
    if folder.exists():
        return folder
    listed = _run("apt-cache", "depends", "--important", "linux-image-cloud-amd64")
    package = next(line.split()[-1] for line in listed.splitlines() if "Depends: linux-image-" in line)
    work = _CACHE / "unpacking"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    _run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package, cwd=work)
    (archive,) = work.glob("*.deb")
    _run("dpkg-deb", "-x", str(archive), "unpacked", cwd=work)
    (work / "unpacked").rename(folder)
    shutil.rmtree(work)
    return folder


def _initrd(kernel: Path) -> bytes:
    """Return a cpio archive with BusyBox, the drivers and the start script."""
    (drivers,) = (kernel / "lib" / "modules").glob("*/kernel/drivers")
    modules = {Path(module).name: (drivers / f"{module}.ko").read_bytes() for module in _MODULES}
    start = _START.format(modules=" ".join(f"{name}.ko" for name in modules))
    files: dict[str, tuple[int, bytes]] = {
        "bin/busybox": (0o755, Path("/bin/busybox").read_bytes()),
        "init": (0o755, b"#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexport PATH=/bin\nexec /bin/init\n"),
        "start": (0o755, start.encode()),
        "etc/inittab": (0o644, _INITTAB.encode()),
        "etc/passwd": (0o644, b"root::0:0:root:/:/bin/sh\n"),
        "etc/group": (0o644, b"root:x:0:\n"),
    } | {f"modules/{name}.ko": (0o644, content) for name, content in modules.items()}
    return b"".join(_archive(files))


def _archive(files: Mapping[str, tuple[int, bytes]]) -> Iterator[bytes]:
    for folder in ("bin", "dev", "etc", "modules", "proc", "root", "sys", "tmp"):
        yield _entry(folder, stat.S_IFDIR | 0o755, b"")
    yield _entry("dev/console", stat.S_IFCHR | 0o600, b"", device=(5, 1))
    for name, (mode, content) in files.items():
        yield _entry(name, stat.S_IFREG | mode, content)
    yield _entry("TRAILER!!!", 0, b"")


def _entry(name: str, mode: int, content: bytes, *, device: tuple[int, int] = (0, 0)) -> bytes:
    """Return one file in cpio's form ``newc``."""
    numbers = (0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


def _run(*command: str, cwd: Path | None = None) -> str:
    environment = os.environ | {"MTOOLS_SKIP_CHECK": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout
