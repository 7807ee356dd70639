"""Blobs in a folder of a host that speaks SFTP.

``sshaccess`` opens the connection and insists on a known host key; ``sftp`` is the store; ``sftpio`` keeps several
requests under way, because one at a time would wait for the network; ``sftpnames`` puts a finished file under its
name without overwriting another.
"""

from vmkeep.blobs.ssh.sftp import SftpStore
from vmkeep.blobs.ssh.sshaccess import SshAccess, parse_location

__all__ = [
    "SftpStore",
    "SshAccess",
    "parse_location",
]
