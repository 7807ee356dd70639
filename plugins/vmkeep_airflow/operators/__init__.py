"""The operators: each does one step of a backup, a restore or maintenance, and has its own file."""
