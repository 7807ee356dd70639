"""The hosts' NFC service: the door through which a VDDK client opens a disk.

`install` lays out a VDDK folder with the stand-in library, which connects here over TCP. `nfc_server` holds one
connection per open disk: it asks an `Authority` (see `grants`) whether this caller may open this disk, counts the
sessions of each host, and tells the library which planned faults (`nfc_faults`) its reads and writes will meet.
`wire` is the message format that C and Python share.

Disk data never passes through the service: the library opens the file whose path it is given.
"""

from vmlab.nfc.grants import Authority, DiskGrant, NfcError
from vmlab.nfc.install import install_vddk
from vmlab.nfc.nfc_faults import NfcFault
from vmlab.nfc.nfc_server import NfcServer, NfcSession

__all__ = ["Authority", "DiskGrant", "NfcError", "NfcFault", "NfcServer", "NfcSession", "install_vddk"]
