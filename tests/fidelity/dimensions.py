"""The dimensions of the matrix, and what each of their values puts into a VM.

The order of the dimensions is the order in which they are applied. The names of the values stand in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.fidelity.drafts import DEVICE, MIB, Disk, Draft
from vmkeep.vsphere.api import vim

VM = vim.vm
CARD = DEVICE.VirtualEthernetCard
EXTENSION = "com.vmware.vim.sms"
"""The one extension that the lab has registered."""
ISO = "[datastore1] iso/there.iso"
PORT_GROUP, OPAQUE = "fidelity port group", "fidelity opaque"
Apply = Callable[[Draft], object]


def nothing(_draft: Draft) -> None:
    """Leave the VM as it is."""


def fields(**values: Any) -> Apply:
    """Set some members of the spec."""

    def apply(draft: Draft) -> None:
        for name, value in values.items():
            setattr(draft.spec, name, value)

    return apply


def named(stem: str) -> Apply:
    """Give the VM a name with something odd in it; its number makes it one of a kind."""

    def apply(draft: Draft) -> None:
        draft.name = stem.format(draft.name)

    return apply


def controllers(*kinds: Any, buses: tuple[int, ...] = (0,), **more: Any) -> Apply:
    """Add controllers for disks."""

    def apply(draft: Draft) -> None:
        for kind, bus in zip(kinds, buses, strict=True):
            draft.add_controller(kind, bus, **more)

    return apply


def ide(draft: Draft) -> None:
    """Take the controllers that every VM has."""
    draft.controllers = [200, 201]


def shared_bus(draft: Draft) -> None:
    """Share the bus with another VM, so that no snapshot can be taken."""
    draft.add_controller(DEVICE.VirtualLsiLogicSASController, 0, sharedBus="virtualSharing")
    draft.as_is = True


def disks(*units: int) -> Apply:
    """Put disks on the controllers in turn, each at the next of these units."""

    def apply(draft: Draft) -> None:
        for number, unit in enumerate(units):
            controller = draft.controllers[number % len(draft.controllers)]
            taken = {disk.unit for disk in draft.disks if disk.controller == controller}
            free = unit if draft.controllers != [200, 201] else len(taken)
            draft.disks.append(Disk(controller, free if free not in taken else draft.free_unit(controller)))

    return apply


def formats(*kinds: str) -> Apply:
    """Provision the disks in turn as ``thin``, ``lazy`` or ``eager``."""

    def apply(draft: Draft) -> None:
        for number, disk in enumerate(draft.disks):
            kind = kinds[number % len(kinds)]
            disk.thin, disk.eager = kind == "thin", kind == "eager"

    return apply


def last_disk(**values: Any) -> Apply:
    """Change the last disk, so that one disk is left that every snapshot holds."""

    def apply(draft: Draft) -> None:
        for name, value in values.items():
            setattr(draft.disks[-1], name, value)

    return apply


def multi_writer(draft: Draft) -> None:
    """Let several VMs write to the last disk, which no snapshot can hold."""
    disk = draft.disks[-1]
    disk.thin, disk.eager, disk.sharing, draft.as_is = False, True, "sharingMultiWriter", True


def rdm(mode: str, **restore: Any) -> Apply:
    """Map a LUN as one more disk."""

    def apply(draft: Draft) -> None:
        controller = draft.controllers[0]
        draft.disks.append(Disk(controller, draft.free_unit(controller), rdm=mode))
        draft.restore |= restore

    return apply


def card(draft: Draft, kind: Any, network: str = "VM Network", **values: Any) -> Any:
    """Add a network card."""
    return draft.add(kind(backing=CARD.NetworkBackingInfo(deviceName=network), addressType="generated", **values))


def cards(*kinds: Any, **values: Any) -> Apply:
    """Add network cards."""
    return lambda draft: [card(draft, kind, **values) for kind in kinds]


def cards_with_a_gap(draft: Draft) -> None:
    """Add three cards and take the first away again; give each of the others a setting of its own."""
    for kind in (DEVICE.VirtualE1000, DEVICE.VirtualVmxnet3, DEVICE.VirtualE1000e):
        card(draft, kind)
    draft.removed_cards.append(4000)
    draft.settings |= {"ethernet1.coalescingScheme": "disabled", "ethernet2.ctxPerDev": "3"}


def static_card(draft: Draft) -> None:
    """Add a card with an address that a person chose."""
    card(draft, DEVICE.VirtualVmxnet3, wakeOnLanEnabled=False).addressType = "manual"
    tail = f"{abs(hash_of(draft.name)) % 0xFFFF:04x}"
    draft.devices[-1].macAddress = f"00:50:56:1a:{tail[:2]}:{tail[2:]}"


def hash_of(text: str) -> int:
    """Return a number for a text, the same in every process."""
    return sum(ord(letter) * (31**place) for place, letter in enumerate(text))


def backed_card(backing: Any) -> Apply:
    """Add a card on a network that a name does not say enough about; the runner fills the ids in."""
    return lambda draft: draft.add(DEVICE.VirtualVmxnet3(backing=backing(), addressType="generated"))


def tuned_card(draft: Draft) -> None:
    """Add a card that starts disconnected, with shares of its own."""
    share = vim.SharesInfo(level="custom", shares=77)
    card(
        draft,
        DEVICE.VirtualVmxnet3,
        connectable=DEVICE.VirtualDevice.ConnectInfo(startConnected=False, allowGuestControl=False, connected=False),
        resourceAllocation=CARD.ResourceAllocation(reservation=10, share=share, limit=1000),
        uptCompatibilityEnabled=True,
    )


def drive(backing: Any, **values: Any) -> Apply:
    """Add a CD drive on the second IDE controller."""
    connect = DEVICE.VirtualDevice.ConnectInfo(
        startConnected=values.pop("starts", False), allowGuestControl=True, connected=False
    )
    return lambda draft: draft.add(
        DEVICE.VirtualCdrom(controllerKey=201, unitNumber=1, backing=backing(**values), connectable=connect)
    )


def extra(kind: Any, **values: Any) -> Apply:
    """Add a device that needs no place of its own."""
    return lambda draft: draft.add(kind(**values))


def many_ports(draft: Draft) -> None:
    """Add a serial port to a file before one to a network, so that the kept one gets another number."""
    serial = DEVICE.VirtualSerialPort
    draft.add(serial(backing=serial.FileBackingInfo(fileName="[datastore1] out.log"), yieldOnPoll=True))
    uri = serial.URIBackingInfo(serviceURI="telnet://:7001", direction="server")
    draft.add(serial(backing=uri, yieldOnPoll=False))
    draft.settings |= {"serial1.tryNoRxLoss": "TRUE"}


def tpm(draft: Draft) -> None:
    """Encrypt the VM, and give it a TPM."""
    draft.spec.firmware, draft.encrypted = "efi", True
    draft.add(DEVICE.VirtualTPM())


def boot(*order: str, **values: Any) -> Apply:
    """Set the boot options. The order is set when the devices have keys."""

    def apply(draft: Draft) -> None:
        options = draft.spec.bootOptions or VM.BootOptions()
        for name, value in values.items():
            setattr(options, name, value)
        draft.spec.bootOptions, draft.boot_order = options, order

    return apply


def secure_boot(draft: Draft) -> None:
    """Boot by EFI, and only what is signed."""
    draft.spec.firmware = "efi"
    draft.spec.bootOptions = VM.BootOptions(efiSecureBootEnabled=True)


def allocation(**values: Any) -> Any:
    """Return reservation, limit and shares."""
    return vim.ResourceAllocationInfo(**values)


def settings(**values: str) -> Apply:
    """Set advanced settings; two underscores stand for a dot."""
    return lambda draft: draft.settings.update({key.replace("__", "."): value for key, value in values.items()})


def settings_of_a_disk(draft: Draft) -> None:
    """Set an advanced setting of the first disk's address."""
    kinds = {device.key: device for device in draft.devices}
    controller = kinds.get(draft.disks[0].controller)
    kind = next(
        (
            name
            for base, name in (
                (DEVICE.VirtualSCSIController, "scsi"),
                (DEVICE.VirtualSATAController, "sata"),
                (DEVICE.VirtualNVMEController, "nvme"),
            )
            if isinstance(controller, base)
        ),
        "ide",
    )
    bus = controller.busNumber if controller is not None else draft.disks[0].controller - 200
    draft.settings[f"{kind}{bus}:{draft.disks[0].unit}.shares"] = "high"


def vapp(*, whole: bool) -> Apply:
    """Add vApp properties; whole: products, licence texts and sections, too."""

    def apply(draft: Draft) -> None:
        kinds = vim.vApp
        properties = [
            kinds.PropertyInfo(
                key=3, classId="net", instanceId="1", id="ip0", category="Network", label="Adresse (IPv4) é",
                type="ip:VM Network", typeReference="", userConfigurable=True, defaultValue="", value="10.1.2.3",
                description="Address of the first card",
            ),
            kinds.PropertyInfo(
                key=7, classId="", instanceId="", id="mode", type='string["a","b"]', userConfigurable=False,
                defaultValue="a", value="a", category="", label="", description="", typeReference="",
            ),
        ]  # fmt: skip
        spec = kinds.VmConfigSpec(
            property=[kinds.PropertySpec(operation="add", info=each) for each in properties],
            ovfEnvironmentTransport=["com.vmware.guestInfo"],
        )
        if whole:
            product = kinds.ProductInfo(
                key=1, classId="net", instanceId="1", name="Appliance", vendor="Somebody", version="1.2",
                fullVersion="1.2.3", vendorUrl="", productUrl="", appUrl="https://${ip0}/",
            )  # fmt: skip
            section = kinds.OvfSectionInfo(
                key=5, namespace="http://schemas.dmtf.org/ovf", type="AnnotationSection_Type", atEnvelopeLevel=False,
                contents='<ovf:AnnotationSection xmlns:ovf="x"><Info>a &amp; b</Info></ovf:AnnotationSection>',
            )  # fmt: skip
            spec.product = [kinds.ProductSpec(operation="add", info=product)]
            spec.ovfSection = [kinds.OvfSectionSpec(operation="add", info=section)]
            spec.eula = ["do no harm", "pay"]
            spec.ovfEnvironmentTransport = ["iso"]
            spec.ipAssignment = kinds.IPAssignmentInfo(
                supportedAllocationScheme=["dhcp", "ovfenv"], ipAllocationPolicy="fixedPolicy",
                supportedIpProtocol=["IPv4"], ipProtocol="IPv4",
            )  # fmt: skip
            spec.installBootRequired, spec.installBootStopDelay = True, 30
        draft.spec.vAppConfig = spec

    return apply


def power(state: str) -> Apply:
    """Leave the VM off, on or suspended."""

    def apply(draft: Draft) -> None:
        draft.power = state

    return apply


def template(draft: Draft) -> None:
    """Make it a template."""
    draft.template = True


def restored(**wishes: Any) -> Apply:
    """Ask for the restore with these fields of a request."""
    return lambda draft: draft.restore.update(wishes)


def elsewhere(draft: Draft) -> None:
    """Put the first disk on another datastore than the VM."""
    draft.disks[0].store = "datastore2"


def snapshots(number: int) -> Apply:
    """Take snapshots before the backup."""
    return lambda draft: setattr(draft, "snapshots", number)


def both(*steps: Apply) -> Apply:
    """Do several things."""
    return lambda draft: [step(draft) for step in steps]


_PVSCSI, _AHCI, _NVME = (
    DEVICE.ParaVirtualSCSIController, DEVICE.VirtualAHCIController, DEVICE.VirtualNVMEController,
)  # fmt: skip
_SAS = DEVICE.VirtualLsiLogicSASController
_CD, _PORT = DEVICE.VirtualCdrom, DEVICE.VirtualSerialPort

DIMENSIONS: Mapping[str, Mapping[str, Apply]] = {
    "hardware": {
        "vmx-21": fields(version="vmx-21"),
        "vmx-14": fields(version="vmx-14"),
        "vmx-19": fields(version="vmx-19"),
    },
    "controllers": {
        "pvscsi": controllers(_PVSCSI),
        "lsilogic": controllers(DEVICE.VirtualLsiLogicController),
        "lsisas": controllers(_SAS),
        "buslogic": controllers(DEVICE.VirtualBusLogicController),
        "ahci": controllers(_AHCI),
        "nvme": controllers(_NVME),
        "ide": ide,
        "four kinds, buses with gaps": controllers(_PVSCSI, _SAS, _AHCI, _NVME, buses=(0, 2, 1, 3)),
        "shared bus": shared_bus,
    },
    "disks": {"one": disks(0), "two, units with a gap": disks(0, 3), "four": disks(1, 0, 9, 4)},
    "disk format": {
        "thin": formats("thin"),
        "lazily zeroed": formats("lazy"),
        "eagerly zeroed": formats("eager"),
        "each another": formats("eager", "thin", "lazy"),
    },
    "disk mode": {
        "persistent": nothing,
        "independent persistent": last_disk(mode="independent_persistent"),
        "independent nonpersistent": last_disk(mode="independent_nonpersistent"),
        "multi-writer": multi_writer,
    },
    "RDM": {
        "none": nothing,
        "virtual": rdm("virtualMode"),
        "physical, placeholder": rdm("physicalMode", physical_rdm="placeholder"),
        "physical, left out": rdm("physicalMode", physical_rdm="omit"),
        "physical, empty disk": rdm("physicalMode", physical_rdm="disk"),
        "physical, LUN": rdm("physicalMode", physical_rdm="lun"),
    },
    "firmware": {
        "BIOS": fields(firmware="bios"),
        "EFI": fields(firmware="efi"),
        "EFI, secure boot": secure_boot,
        "EFI, vTPM, encrypted": tpm,
    },
    "network cards": {
        "vmxnet3": cards(DEVICE.VirtualVmxnet3),
        "none": nothing,
        "PCNet32": cards(DEVICE.VirtualPCNet32),
        "E1000 and E1000e": cards(DEVICE.VirtualE1000, DEVICE.VirtualE1000e),
        "three less one": cards_with_a_gap,
        "chosen address": static_card,
        "port group": backed_card(CARD.DistributedVirtualPortBackingInfo),
        "opaque network": backed_card(CARD.OpaqueNetworkBackingInfo),
        "starts disconnected, own shares": tuned_card,
    },
    "drives and ports": {
        "empty CD drive": drive(_CD.RemotePassthroughBackingInfo, deviceName="", exclusive=False),
        "none": nothing,
        "ISO": drive(_CD.IsoBackingInfo, fileName=ISO, starts=True),
        "ISO that goes": drive(_CD.IsoBackingInfo, fileName="[] /vmimages/tools-isoimages/linux.iso"),
        "host's CD drive": drive(_CD.AtapiBackingInfo, deviceName="/vmfs/devices/cdrom/x"),
        "floppy": extra(
            DEVICE.VirtualFloppy,
            controllerKey=400,
            unitNumber=0,
            backing=DEVICE.VirtualFloppy.RemoteDeviceBackingInfo(deviceName=""),
            connectable=DEVICE.VirtualDevice.ConnectInfo(startConnected=False, allowGuestControl=True, connected=False),
        ),
        "serial ports": many_ports,
        "sound and parallel port": both(
            extra(
                DEVICE.VirtualHdAudioCard,
                backing=DEVICE.VirtualSoundCard.DeviceBackingInfo(deviceName="", useAutoDetect=True),
            ),
            extra(
                DEVICE.VirtualParallelPort,
                backing=DEVICE.VirtualParallelPort.FileBackingInfo(fileName="[datastore1] lpt"),
            ),
        ),
        "USB controllers": both(
            extra(DEVICE.VirtualUSBController, busNumber=0, autoConnectDevices=False, ehciEnabled=True),
            extra(DEVICE.VirtualUSBXHCIController, busNumber=0, autoConnectDevices=True),
        ),
        "watchdog and clock": both(
            extra(DEVICE.VirtualWDT, runOnBoot=True, running=False),
            extra(
                DEVICE.VirtualPrecisionClock,
                backing=DEVICE.VirtualPrecisionClock.SystemClockBackingInfo(protocol="ptp"),
            ),
        ),
        "3D video": extra(
            DEVICE.VirtualVideoCard,
            videoRamSizeInKB=16384,
            numDisplays=2,
            useAutoDetect=False,
            enable3DSupport=True,
            use3dRenderer="software",
            graphicsMemorySizeInKB=262144,
        ),
    },
    "CPU": {
        "one": nothing,
        "four in two sockets": fields(numCPUs=4, numCoresPerSocket=2),
        "cores chosen by vSphere": fields(numCPUs=4, numCoresPerSocket=0),
        "hot add, counters, nested": fields(
            numCPUs=2, cpuHotAddEnabled=True, cpuHotRemoveEnabled=True, vPMCEnabled=True, nestedHVEnabled=True
        ),
        "masked, NUMA nodes": fields(
            numCPUs=8,
            numCoresPerSocket=4,
            cpuFeatureMask=[
                VM.ConfigSpec.CpuIdInfoSpec(
                    operation="add", info=vim.host.CpuIdInfo(level=1, ecx="----:--0-:----:----:----:----:----:----")
                )
            ],
            virtualNuma=VM.VirtualNuma(coresPerNumaNode=4, exposeVnumaOnCpuHotadd=True),
        ),
    },
    "memory": {
        "plain": nothing,
        "hot add": fields(memoryHotAddEnabled=True, memoryMB=128),
        "reserved and locked": fields(
            memoryMB=64, memoryReservationLockedToMax=True, memoryAllocation=allocation(reservation=64)
        ),
    },
    "shares and limits": {
        "usual": nothing,
        "own": fields(
            cpuAllocation=allocation(
                reservation=100,
                limit=2000,
                shares=vim.SharesInfo(level="custom", shares=1234),
                expandableReservation=False,
            ),
        ),
        "high": fields(cpuAllocation=allocation(shares=vim.SharesInfo(level="high", shares=2000))),
    },
    "latency": {
        "normal": nothing,
        "high": fields(latencySensitivity=vim.LatencySensitivity(level="high")),
        "low": fields(latencySensitivity=vim.LatencySensitivity(level="low")),
    },
    "affinity": {
        "none": nothing,
        "CPUs": fields(cpuAffinity=VM.AffinityInfo(affinitySet=[2, 3, 5])),
        "memory": fields(memoryAffinity=VM.AffinityInfo(affinitySet=[0])),
    },
    "boot": {
        "usual": nothing,
        "disk, card, CD": boot("disk", "card", "cd"),
        "card, last disk, floppy": boot("card", "last disk", "floppy"),
        "delay, retry, IPv6": boot(
            bootDelay=2500, bootRetryEnabled=True, bootRetryDelay=20000, enterBIOSSetup=True, networkBootProtocol="ipv6"
        ),
    },
    "settings": {
        "usual": nothing,
        "own": settings(my__own="kept", guestinfo__role='db = 1; "x" & <y>'),
        "odd case": both(
            settings(Disk__EnableUUID="FALSE", SVGA__AUTODETECT="TRUE"),
            settings(MKS__enable3d="FALSE"),
        ),
        "of a disk": settings_of_a_disk,
        "of the old place": settings(
            HBR_filter__configGen="1", ethernet0__filter0__name="nsx", RemoteDisplay__vnc__enabled="TRUE"
        ),
    },
    "vApp part": {"none": nothing, "properties": vapp(whole=False), "all": vapp(whole=True)},
    "management": {
        "none": nothing,
        "extension": fields(managedBy=vim.ext.ManagedByInfo(extensionKey=EXTENSION, type="appliance")),
        "swap file with the host": fields(swapPlacement="hostLocal"),
        "console, tools, power": fields(
            consolePreferences=VM.ConsolePreferences(
                powerOnWhenOpened=False, enterFullScreenOnPowerOn=False, closeOnPowerOffOrSuspend=True
            ),
            tools=VM.ToolsConfigInfo(
                afterPowerOn=False,
                beforeGuestReboot=True,
                toolsUpgradePolicy="upgradeAtPowerCycle",
                syncTimeWithHost=True,
            ),
            powerOpInfo=VM.DefaultPowerOpInfo(
                powerOffType="hard", suspendType="soft", resetType="hard", standbyAction="powerOnSuspend"
            ),
            maxMksConnections=4,
            guestAutoLockEnabled=False,
            rebootPowerOff=True,
        ),
        "flags": fields(
            flags=VM.FlagInfo(
                disableAcceleration=True,
                enableLogging=False,
                runWithDebugInfo=True,
                monitorType="debug",
                htSharing="none",
                snapshotLocked=False,
                diskUuidEnabled=True,
                virtualMmuUsage="on",
                virtualExecUsage="hvOn",
                snapshotPowerOffBehavior="revert",
                cbrcCacheEnabled=True,
                vvtdEnabled=True,
            ),
            vAssertsEnabled=True,
            messageBusTunnelEnabled=True,
            vmxStatsCollectionEnabled=False,
            migrateEncryption="required",
            ftEncryptionMode="ftEncryptionRequired",
        ),
        "replacing, upgrade, SGX": fields(
            deviceSwap=VM.VirtualDeviceSwap(lsiToPvscsi=VM.VirtualDeviceSwap.DeviceSwapInfo(enabled=False)),
            scheduledHardwareUpgradeInfo=VM.ScheduledHardwareUpgradeInfo(
                upgradePolicy="onSoftPowerOff", versionKey="vmx-21"
            ),
            sgxInfo=VM.SgxInfo(epcSize=16 * MIB, flcMode="unlocked", requireAttestation=False),
            vmOpNotificationToAppEnabled=True,
            vmOpNotificationTimeout=60,
            fixedPassthruHotPlugEnabled=True,
        ),
        "world wide names": fields(
            npivWorldWideNameOp="set",
            npivNodeWorldWideName=[0x28A4000C29000001],
            npivPortWorldWideName=[0x28A4000C29000002, 0x28A4000C29000003],
            npivOnNonRdmDisks=True,
        ),
    },
    "guest": {
        "Linux": nothing,
        "Windows, notes": fields(
            guestId="windows2019srv_64Guest",
            annotation='Zeile 1\nZeile 2: <é> & "☃"\tEnde ',
            locationId="564d1234-aaaa-bbbb-cccc-0123456789ab",
        ),
        "other, named": fields(guestId="otherGuest64", alternateGuestName="Plan 9 from Bell Labs"),
    },
    "name": {
        "plain": nothing,
        "slash and percent": named("a/b %2f {0}"),
        "brackets and quotes": named("[x] '{0}' \"y\" (z)"),
        "other scripts": named("dätä ☃ データ {0}"),
        "blanks and signs": named(" {0} =,;:*?|&$#! "),
        "80 characters": lambda draft: setattr(draft, "name", f"{draft.name} ".ljust(80, "n")),
    },
    "place": {"one datastore": nothing, "two datastores": elsewhere},
    "state": {"off": power("off"), "running": power("on"), "suspended": power("suspended"), "template": template},
    "snapshots": {"none": nothing, "two": snapshots(2)},
    "restore": {
        "as it was": restored(keep_identity=True),
        "as a copy": restored(keep_identity=False),
        "as a copy, addresses kept": restored(keep_identity=False, mac_addresses="keep"),
    },
    "new version": {"kept": nothing, "lowered to vmx-14": restored(hardware_version="vmx-14")},
}
"""Name of a dimension → name of a value → what the value does."""

VALUES = {name: tuple(values) for name, values in DIMENSIONS.items()}


def go_together(row: Mapping[str, str]) -> bool:
    """Tell whether vSphere lets these values go together. Dimensions that are missing forbid nothing."""
    has = {*row.items()}
    as_is = has & {("controllers", "shared bus"), ("disk mode", "multi-writer")}
    scsi_less = row.get("controllers") in ("ahci", "nvme", "ide")
    old = row.get("hardware") == "vmx-14"
    forbidden = (
        bool(as_is) and row.get("state", "off") != "off",
        bool(as_is) and row.get("RDM", "none") != "none",
        bool(as_is) and row.get("snapshots", "none") != "none",
        ("state", "template") in has and row.get("snapshots", "none") != "none",
        ("new version", "lowered to vmx-14") in has and ("drives and ports", "watchdog and clock") in has,
        len(as_is) == 2,
        ("disks", "one") in has and row.get("disk mode", "persistent") not in ("persistent", "multi-writer"),
        ("disks", "one") in has and ("controllers", "four kinds, buses with gaps") in has,
        scsi_less and row.get("RDM", "none") != "none",
        ("disks", "four") in has and ("controllers", "ide") in has and row.get("drives and ports") in _ON_IDE,
        ("boot", "disk, card, CD") in has
        and (row.get("drives and ports", "ISO") not in _ON_IDE or ("network cards", "none") in has),
        ("boot", "card, last disk, floppy") in has and ("network cards", "none") in has,
        ("drives and ports", "watchdog and clock") in has and old,
        ("latency", "high") in has and row.get("memory", "reserved and locked") != "reserved and locked",
        ("CPU", "masked, NUMA nodes") in has and row.get("hardware", "vmx-21") != "vmx-21",
        ("CPU", "cores chosen by vSphere") in has and row.get("hardware", "vmx-21") != "vmx-21",
        ("management", "world wide names") in has and row.get("RDM", "virtual") == "none",
        ("settings", "of the old place") in has and ("network cards", "none") in has,
    )
    return not any(forbidden)


_ON_IDE = ("empty CD drive", "ISO", "ISO that goes", "host's CD drive")


def draft_of(name: str, row: Mapping[str, str]) -> Draft:
    """Return the VM of a row."""
    draft = Draft(name)
    for dimension, values in DIMENSIONS.items():
        values[row[dimension]](draft)
    return draft
