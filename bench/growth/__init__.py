"""Calls and bytes of single steps, as what is there grows by 4 and by 16: they ought to grow with what changed only.

Counts are exact, so that a busy machine changes none of them. ``python -m bench.growth`` prints a table. A row is a
function that makes a repository of its own in a folder, takes a step, and returns its figures. `stock` makes what is
there. `increments`, `finding`, `points`, `checks`, `upkeep`, `locks` and `vms` have the rows.
"""
