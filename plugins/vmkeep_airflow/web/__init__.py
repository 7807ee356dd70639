"""The web view: a FastAPI app below ``/vmkeep`` of Airflow's API server.

``app`` makes the app, ``access`` says who calls and what they may do, ``sources`` finds the catalogs and the policies,
``routes`` has a module for each page, ``frame`` has their common parts, ``repositories`` reads what no catalog has,
``vcenters`` asks about places, ``limits`` bounds what that may take, ``dagrunlinks`` leads from a point to its run,
``ownapi`` asks Airflow's API as the user who calls, and ``planruns`` starts restores by it.
``pointfiles`` reads folders in points, and ``downloads`` hands files out of them.
``guard`` stands before Airflow's own API and refuses what ``overwriting`` calls a loss, unless the user may overwrite.
The pages themselves are pure, and are made in :mod:`vmkeep.web`.
"""

from vmkeep_airflow.web.mounting import EXTERNAL_VIEWS, FASTAPI_APPS, ROOT_MIDDLEWARES

__all__ = ["EXTERNAL_VIEWS", "FASTAPI_APPS", "ROOT_MIDDLEWARES"]
