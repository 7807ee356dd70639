"""Benchmarks of a site with many VMs: a whole window in Airflow, and the commands that look at all VMs.

``python -m bench.scale`` backs up a thousand small VMs of the simulated vSphere in one window (`window`), and
``python -m bench.scale.inventory`` lists five thousand. `fleet` makes the VMs, `site` starts everything, `sampling`
looks at it once a second, and `judging` and `plot` tell how it was.
"""
