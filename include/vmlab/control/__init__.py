"""The lab's own call for tests and demos: guest writes, planned faults, what the disks hold. No part of vSphere."""
