"""SOAP over HTTPS, spoken from pyVmomi's own type tables. Knows no managed object and no inventory."""
