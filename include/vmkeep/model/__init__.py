"""Frozen values that every layer shares; no I/O, no vSphere types, no byte layouts."""
