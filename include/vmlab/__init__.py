"""A simulated vSphere: SOAP over TLS, disks with real data, and a stand-in libvixDiskLib. Imports nothing of vmkeep.

From the top: `cli` is the command and `lab` puts a lab together. `routes` finds who answers a URL: the vCenter's API
(`managed`), files of datastores, storage policies, or the calls for tests (`control`). `inventory` is what a new lab
holds. `authority` decides who may open a disk; `nfc` is the service that asks it. `disks` and the C code in `native`
do the disks' work. `soap` speaks HTTP and SOAP, and `api` gives the vSphere API's types.

`testing` starts a lab in a child process and is what tests of other programs import.
"""
