"""The web view: a FastAPI app below ``/vmkeep`` of Airflow's API server.

``app`` makes the app, ``access`` says who calls and what they may do, ``sources`` finds the catalogs and the policies,
``routes`` has a module for each page, ``frame`` has their common parts, ``repositories`` reads what no catalog has,
``limits`` bounds what that may take, and ``dagrunlinks`` leads from a point to Airflow's run.
The pages themselves are pure, and are made in :mod:`vmkeep.web`.
"""

from vmkeep_airflow.web.mounting import EXTERNAL_VIEWS, FASTAPI_APPS

__all__ = ["EXTERNAL_VIEWS", "FASTAPI_APPS"]
