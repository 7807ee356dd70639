"""Names each part of a ``.vmx`` file that is not taken over, so that none is lost silently."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from vmkeep.hypervisors.described import CARD_MODELS, SCSI_TYPES, card_model
from vmkeep.hypervisors.unread import UNKNOWN_CARD, UNKNOWN_CONTROLLER, setting, settings, shown
from vmkeep.model.portable import LeftOut

_ADD = "the new machine gets none: add one, if it is needed"
_DEVICES = (
    ("floppy", "floppy drive", "attach an image of a floppy disk by hand, if it is needed"),
    ("serial", "serial port", "add one, if the guest uses it"),
    ("parallel", "parallel port", "add one, if the guest uses it"),
    ("sound", "sound card", "add one, if the guest uses it"),
    ("sharedfolder", "shared folder", "it belongs to the desktop that the machine ran on"),
    ("vtpm", "vTPM", "its secrets do not come along: have the recovery key of each encrypted volume at hand"),
    ("usb", "USB controller", _ADD),
    ("ehci", "USB controller", _ADD),
)
_READ = re.compile(
    r"displayname|guestos|memsize|numvcpus|cpuid\.corespersocket|firmware|uefi\.secureboot\.enabled|uuid\.bios"
    r"|annotation|virtualhw\.version|config\.version|\.encoding|nvram"
    r"|(scsi|sata|ide|nvme)\d+(\.(present|virtualdev)|:\d+\.(present|filename|devicetype))"
    r"|ethernet\d+\.(present|virtualdev|address|generatedaddress|networkname|connectiontype|startconnected)"
)
_OF_THE_PROGRAM = re.compile(
    r"(pcibridge\d+|vmci0|hpet0|gui|unity|powertype|toolscripts|replay|migrate|vmotion|monitor|hgfs)\..*"
    r"|mks\.(?!enable3d).*|svga\.(present|guestbackedprimaryaware)|numa\.autosize\..*"
    r"|.*\.(pcislotnumber|redo|generatedaddressoffset|addresstype|wakeonpcktrcv|linkstatepropagation\.enable|vnet)"
    r"|(floppy|serial|parallel|sound|sharedfolder|vtpm|usb|ehci).*|checkpoint\.vmstate|.*startconnected|.*autodetect"
    r"|uuid\.(location|action)|vc\.uuid|extendedconfigfile|vmxstats\.filename|cleanshutdown|softpoweroff|virtualhw\..*"
    r"|sched\.swap\.derivedname|tools\.(synctime|remindinstall|upgrade\.policy)|policy\.vm.*"
    r"|cpuid\.numsmt|chipset\..*|guestos\.detailed\.data|guestinfo\.detailed\.data|viv\.moid|vm\.genidx?"
    r"|(scsi|sata|ide|nvme)\d+:\d+\.(startconnected|allowguestconnectioncontrol|clientdevice|exclusive)"
    r"|(scsi|sata|ide|nvme)\d+\.saswwid"
)
"""Settings that say how the old program ran the machine, or that every program chooses by itself."""
_USUAL = {("mode", "persistent"), ("mode", "undoable"), ("sharedbus", "none")}


def unread_parts(settings_: Mapping[str, str]) -> Iterator[LeftOut]:
    """Yield the parts that a machine does not get.

    :param settings_: the settings of the file, by their names in lower case.
    """
    if settings_.get("checkpoint.vmstate"):
        yield LeftOut(
            part="memory of the suspended machine",
            why="the guest starts as after a power failure: shut it down in its old program first, if it has unsaved "
            "work",
        )
    yield from _of_devices(settings_)
    yield from _of_types(settings_)
    yield from settings(
        [
            setting(name, value)
            for name, value in settings_.items()
            if not _READ.fullmatch(name)
            and not _OF_THE_PROGRAM.fullmatch(name)
            and (name.rpartition(".")[2], value.lower()) not in _USUAL
            and not _of_absent(settings_, name)
        ]
    )


def _of_devices(settings_: Mapping[str, str]) -> Iterator[LeftOut]:
    for name in settings_:
        if not name.endswith(".present") or not is_true(settings_, name):
            continue
        own = name.removesuffix(".present")
        for begin, what, why in _DEVICES:
            if own.startswith(begin):
                yield LeftOut(part=f"{what} ({shown(own)})", why=why)
        kind = settings_.get(f"{own}.devicetype", "").lower()
        if "cdrom" in kind or "atapi" in kind:
            yield LeftOut(part=f"CD drive ({shown(own)})", why=_ADD)


def _of_types(settings_: Mapping[str, str]) -> Iterator[LeftOut]:
    for name, value in settings_.items():
        own = name.removesuffix(".virtualdev")
        if own == name or not value or not is_true(settings_, f"{own}.present"):
            continue
        if re.fullmatch(r"scsi\d+", own) and value.lower() not in SCSI_TYPES:
            yield LeftOut(part=f"SCSI controller of the type {shown(value)} ({own})", why=UNKNOWN_CONTROLLER)
        if re.fullmatch(r"ethernet\d+", own) and card_model(value) not in CARD_MODELS:
            yield LeftOut(part=f"network card of the type {shown(value)} ({own})", why=UNKNOWN_CARD)


def _of_absent(settings_: Mapping[str, str], name: str) -> bool:
    """Return whether a setting belongs to a device that the machine does not have."""
    own, dot, _ = name.rpartition(".")
    return bool(dot) and f"{own}.present" in settings_ and not is_true(settings_, f"{own}.present")


def is_true(settings_: Mapping[str, str], name: str) -> bool:
    """Return whether a setting says yes."""
    return settings_.get(name, "").lower() in ("true", "yes", "1")
