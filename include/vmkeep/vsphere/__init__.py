"""Speaks with vSphere: sessions, inventory, snapshots, changed areas, power, new VMs. Only this package uses ``vim``.

All other packages see managed object ids (``vm-16``) and model values.

*The connection*: ``session`` (over ``connection``, ``stub``, ``trust``, ``http``, ``tickets``) and ``onelogin``, calls
and their faults (``api``, ``tasks``, ``properties``, ``looks``, ``faults``), and ``server``, the identity of a vCenter
or host. *The inventory*: ``inventory``, ``describe``, ``names``, ``paths``, ``machines``, ``claims``, ``rights``,
``roles``; ``vmnames`` completes errors; ``choosing`` finds the VMs that fit a selector (``vmfacts``, ``records``,
``surroundings``, ``tags``, ``automation``).
*A backup*: ``snapshots`` (``snapshottree``), ``remains``, ``changes``, ``vmfiles``, ``sharing``, ``disturbances``,
``relocation``, ``reach``, ``rdms``, ``guestcommands``, ``tools``; ``hostbundles`` for the configuration of a host.
*A file back into a guest*: ``guestuploads``. *A sweep*: ``traces`` and ``attached``.
*A new VM*: ``configspec`` builds the ``ConfigSpec`` from a saved configuration (``barespec``, ``advancedsettings``,
``hardware``, ``lowering``, ``cards``, ``addresses``, ``specdevices``, ``specdisks``, ``specvapp``,
``placedsettings``), ``places`` and ``fitting`` find out whether the VM can be made there (``candidates``,
``directories``, ``luns``, ``freeluns``), ``storestates`` and ``freespace`` whether its datastores take it, and
``create`` makes it; ``choices`` lists the places that there are, and ``lunlist`` the LUNs. ``importedconfig`` makes the
saved configuration of an imported machine.
``policychoice`` (over ``policies``), ``vmtags`` and ``attributes`` find by
name what a VM has beside its configuration.
*Another hypervisor*: ``portable`` (``portableparts``) describes a saved VM in words that every hypervisor knows.
*New disks of a VM*: ``carriers`` makes the VM on which they are written, ``slots`` finds units for them, ``attaching``
attaches them. *An undo*: ``added_devices`` tells which devices a VM got after a snapshot.
*An examination of the installation*: ``certificatelook``, ``hostlook`` and ``rightslook``.

The door re-exports no names, because each command needs few of these modules and pyVmomi is slow to load: it lists
the modules that others may import.
"""

__all__ = [
    "added_devices",
    "addresses",
    "attached",
    "attaching",
    "attributes",
    "candidates",
    "cards",
    "carriers",
    "certificatelook",
    "changes",
    "choices",
    "choosing",
    "claims",
    "configspec",
    "create",
    "directories",
    "disturbances",
    "drills",
    "encryption",
    "freeluns",
    "freespace",
    "guestcommands",
    "guests",
    "guestuploads",
    "health",
    "hostbundles",
    "hostlook",
    "hosts",
    "importedconfig",
    "inventory",
    "last_use",
    "loads",
    "lunlist",
    "luns",
    "machines",
    "mappings",
    "names",
    "oldsnapshots",
    "onelogin",
    "paths",
    "policies",
    "portable",
    "rdms",
    "reach",
    "references",
    "relocation",
    "remains",
    "rights",
    "rightscheck",
    "rightslook",
    "roles",
    "screenshots",
    "server",
    "session",
    "sharing",
    "slots",
    "snapshots",
    "specdisks",
    "storestates",
    "suspensions",
    "tickets",
    "tools",
    "traces",
    "vmfacts",
    "vmfiles",
    "vmnames",
    "vmnotes",
    "vmtags",
]  # fmt: skip
