"""vSphere: sessions, inventory, snapshots, changed areas, machines. The only place that speaks ``vim``.

Everything outside sees managed object ids (``vm-16``) and model values.
"""
