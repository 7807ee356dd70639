"""Blobs in a folder of a host that speaks SFTP.

``sshaccess`` opens the connection and requires a known host key. ``sftp`` is the store. ``sftpio`` keeps several
requests under way, because one request at a time would mostly wait for the network. ``sftpnames`` gives a finished file
its name without overwriting another.
"""

from vmkeep.blobs.ssh.sftp import SftpStore
from vmkeep.blobs.ssh.sshaccess import SshAccess, parse_location

__all__ = [
    "SftpStore",
    "SshAccess",
    "parse_location",
]
