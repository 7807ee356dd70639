"""vmkeep for Airflow: a provider whose operators call the engine's flows.

``hooks`` read connections, ``site`` makes one value of them, ``operators`` do one step each, and ``params`` are the
fields of the DAGs' forms. ``provider`` describes the connection types to Airflow, and ``bundle`` brings the DAGs.

``plugin`` adds the parts that run inside Airflow's own processes: it makes pools (``pools``), imports the engine before
tasks are forked (``preload``), writes notes of runs (``runnotes``), and turns a green run red if one of its tasks did
not end well (``verdict``). ``routing`` sends tasks to the proxy that their run names (``proxies``). ``dagruns`` finds
the DAG run behind a run key, so that a sweep knows the owner of a snapshot. ``first_start`` makes a new installation's
login and connections.
"""
