"""The lab's own HTTP calls, for tests and demos. No vCenter has them.

`handler` checks the control token and finds the function of a call; each other module answers some calls:
`guest` writes into a running VM and reads disks, `state` tells everything a test asks about, `additions` adds
datastores, networks and hosts, `copies` registers a VM whose files storage brought, `moving` starts Storage vMotion.
`targets` finds the VM and the disk that a call names.

docs/vmlab.md lists the calls; their names and fields are a promise.
"""

from vmlab.control.handler import CONTROL_PREFIX, ControlHandler

__all__ = ["CONTROL_PREFIX", "ControlHandler"]
