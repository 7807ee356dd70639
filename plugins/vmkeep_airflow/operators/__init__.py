"""One operator per step of a backup or a restore, one file each."""
