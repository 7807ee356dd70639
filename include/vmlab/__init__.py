"""A simulated vSphere: SOAP over TLS, disks with real data, and a stand-in libvixDiskLib. Imports nothing of vmkeep."""
