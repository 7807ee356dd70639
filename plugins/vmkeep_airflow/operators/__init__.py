"""One operator per step of a backup, a restore or maintenance, one file each."""
