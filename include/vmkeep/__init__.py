"""vmkeep: agentless, image-level backup and restore of VMware vSphere VMs.

The engine runs with no Airflow installed. Layers, upper imports lower only (held by a lint contract):
cli > flows > transfer, images > repository, catalog, vsphere, vddk > blobs > model > errors, clock.
"""

__version__ = "0.1.0"
