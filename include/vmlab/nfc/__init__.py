"""The hosts' NFC service as the lab has it: who may open which disk, how many at once, and what goes wrong."""

from vmlab.nfc.faults import NfcFault
from vmlab.nfc.grants import Authority, DiskGrant, NfcError
from vmlab.nfc.install import install_vddk
from vmlab.nfc.server import NfcServer, NfcSession

__all__ = ["Authority", "DiskGrant", "NfcError", "NfcFault", "NfcServer", "NfcSession", "install_vddk"]
