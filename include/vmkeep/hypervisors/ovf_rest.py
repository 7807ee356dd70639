"""Names each part of an OVF that is not taken over, so that none is lost silently."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from xml.etree.ElementTree import Element

from vmkeep.hypervisors.described import CARD_MODELS, SCSI_TYPES, card_model
from vmkeep.hypervisors.strangexml import children, text_of
from vmkeep.hypervisors.unread import UNKNOWN_CARD, UNKNOWN_CONTROLLER, setting, settings, shown
from vmkeep.model.portable import LeftOut

_READ = {"3", "4", "5", "6", "10", "17"}
"""Resource types that are read: processors, memory, IDE and SCSI controllers, network cards, disks."""
_NAMED = {
    "14": ("floppy drive", "attach an image of a floppy disk by hand, if it is needed"),
    "15": ("CD drive", "the new machine gets none: add one, if it is needed"),
    "16": ("DVD drive", "the new machine gets none: add one, if it is needed"),
    "21": ("serial port", "add one, if the guest uses it"),
    "22": ("parallel port", "add one, if the guest uses it"),
    "23": ("USB controller", "the new machine gets none: add one, if it is needed"),
    "35": ("sound card", "add one, if the guest uses it"),
}
_OTHER, _OTHER_STORAGE, _GRAPHICS = "1", "20", "24"
_STORAGE = ("nvme", "ahci", "sata")
_SILENT_TAGS = {
    "Address", "AddressOnParent", "AllocationUnits", "AutomaticAllocation", "AutomaticDeallocation", "Caption",
    "Config", "Connection", "ConsumerVisibility", "CoresPerSocket", "Description", "ElementName", "ExtraConfig",
    "HostResource", "InstanceID", "Parent", "ResourceSubType", "ResourceType", "VirtualQuantity",
    "VirtualQuantityUnits",
}  # fmt: skip
"""Elements of a device that are read, or are words for people."""
_READ_KEYS = {"firmware", "bootOptions.efiSecureBootEnabled", "nvram"}
_READ_SECTIONS = {
    "References", "DiskSection", "NetworkSection", "VirtualSystem", "VirtualSystemCollection", "Content", "Info",
    "Name", "OperatingSystemSection", "VirtualHardwareSection", "AnnotationSection", "Strings",
}  # fmt: skip
_SECTIONS = {
    "ProductSection": ("vApp properties", "settings of an appliance that its guest reads: set them in the guest"),
    "DeploymentOptionSection": (
        "deployment options",
        "the default configuration was taken: change processors and memory by hand",
    ),
    "EulaSection": ("licence text", "read it in the .ovf file, because it binds you all the same"),
}


def unread_parts(
    root: Element, system: Element, items: Sequence[Element], files: Collection[str]
) -> tuple[LeftOut, ...]:
    """Return the parts that a machine does not get.

    :param items: the devices of the chosen configuration.
    :param files: the ids of the files that are read.
    """
    hardware = list(children(system, "VirtualHardwareSection"))
    return (
        *(part for item in items for part in _of_item(item)),
        *_of_sections((root, *children(root, "VirtualSystemCollection"), system)),
        *_of_files(root, files),
        *(
            LeftOut(part="another VirtualHardwareSection", why="the first one was taken")
            for _ in hardware[1:]
        ),
        *settings([text for item in (*hardware[:1], *items) for text in _settings(item)]),
    )  # fmt: skip


def _of_item(item: Element) -> Iterator[LeftOut]:
    kind, name = text_of(item, "ResourceType"), shown(text_of(item, "ElementName"))
    subtype = shown(text_of(item, "ResourceSubType"))
    if kind in _NAMED:
        yield LeftOut(part=name or _NAMED[kind][0], why=_NAMED[kind][1])
    elif not _is_known(kind, subtype.lower()):
        yield LeftOut(
            part=f"{name or 'a device'} (type {shown(kind)} {subtype})".replace(" )", ")"),
            why="a device of a kind that is not known here: add it by hand, if the guest needs it",
        )
    if kind == "6" and subtype and subtype.split()[0].lower() not in SCSI_TYPES:
        yield LeftOut(part=f"SCSI controller of the type {subtype}", why=UNKNOWN_CONTROLLER)
    if kind == "10" and subtype and card_model(subtype.split()[0]) not in CARD_MODELS:
        yield LeftOut(part=f"network card of the type {subtype}", why=UNKNOWN_CARD)


def _is_known(kind: str, subtype: str) -> bool:
    if kind == _OTHER:
        return "vmci" in subtype  # because every VM has one by itself
    if kind == _OTHER_STORAGE:
        return any(word in subtype for word in _STORAGE)
    return kind in _READ or kind == _GRAPHICS


def _of_sections(parents: Sequence[Element]) -> Iterator[LeftOut]:
    tags = dict.fromkeys(child.tag for parent in parents for child in parent)
    for tag in (each for each in tags if each not in _READ_SECTIONS):
        part, why = _SECTIONS.get(tag, (shown(tag), "a part of the .ovf that is not known here: look at it there"))
        yield LeftOut(part=part, why=why)


def _of_files(root: Element, files: Collection[str]) -> Iterator[LeftOut]:
    for file in children(next(children(root, "References"), None), "File"):
        if file.get("id") not in files:
            yield LeftOut(
                part=f"file {shown(file.get('href', ''))}", why="it is no disk of the machine: keep it, if it is needed"
            )


def _settings(parent: Element) -> Iterator[str]:
    """Yield the settings of a device, or of the machine, that are not read."""
    own = shown(text_of(parent, "ElementName") or text_of(parent, "InstanceID"))
    begin = f"{own}: " if own else ""
    for child in parent:
        if child.tag in ("Config", "ExtraConfig"):
            if (key := child.get("key", "")) not in _READ_KEYS:
                yield begin + setting(key, child.get("value", ""))
        elif parent.tag != "VirtualHardwareSection" and child.tag not in _SILENT_TAGS and (child.text or "").strip():
            yield begin + setting(child.tag, child.text or "")
