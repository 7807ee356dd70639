"""vmkeep for Airflow: a provider whose operators call the engine's flows.

``hooks`` read connections, ``site`` makes one value of them, ``operators`` do one step each, and ``params`` are the
fields of the DAGs' forms. ``provider`` tells Airflow of the connection types, and ``bundle`` brings the DAGs.

``plugin`` adds what runs inside Airflow's own processes: it makes pools (``pools``), imports the engine before tasks
are forked (``preload``), writes notes of runs (``runnotes``), and turns a green run red whose task did not end well
(``verdict``). ``routing`` sends tasks to the proxy that their run names (``proxies``). ``dagruns`` finds the DAG run
behind a run key, so that a sweep knows whose snapshot it sees. ``first_start`` makes a new installation's login and
connections.
"""
