"""The managed objects of the simulated vCenter, and what their methods do.

A reference (`vm-1001`) names an object; its properties are stored in the world or computed when they are read.
A function registers for a method or a property of a type (`@method`, `@task_method`, `@computed`), and the
dispatcher finds it by the receiver's type. A method that no function registered for is refused as not supported.

Each package below is one subject and is imported through its `__init__` only. From the bottom:
`world` holds the objects, `site` adds users, sessions, tasks and the table of behaviours, and `machine` knows the
parts of a VM as plain values. `properties` reads and selects, `vcenter` answers for the vCenter itself, `storage` for
datastores and `hosts` for hosts and networks. `vms` tells what a VM is, `snapshots` freezes its disks, and
`provisioning` makes, changes, moves and deletes VMs.

Two modules stand beside them: `ds_paths` is vocabulary (datastore paths, for everybody), and `dispatch` is the top:
it turns an HTTP POST into a call of a behaviour.
"""
