"""The demo: a real Airflow backs up and restores a VM of a simulated vSphere, and every byte is compared.

``python -m demo`` is what ``make demo`` runs. Also the place that knows how to run Airflow's four components as
processes of one's own; the tests that need a running Airflow use it too.
"""
