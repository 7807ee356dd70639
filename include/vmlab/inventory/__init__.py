"""The inventory a new lab starts with: a datacenter, two hosts, and VMs worth backing up.

`demo` makes folders, hosts, datastores, networks and VMs through the code that answers CreateVM_Task, so a demo VM has
what any other VM has. `places` are those of a vCenter, or of a host without one. `images` are small real disk
images: partition tables, an LVM volume group, file systems.

Runs once, at the first start of a lab in an empty folder.
"""

from vmlab.inventory.demo import ADMINISTRATOR, build_inventory

__all__ = ["ADMINISTRATOR", "build_inventory"]
