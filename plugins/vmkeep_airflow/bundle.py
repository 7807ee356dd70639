"""vmkeep's DAGs as a bundle of Airflow. They come with the installed package, and change when it is upgraded.

One entry of ``[dag_processor] dag_bundle_config_list`` brings them in, on every component that reads DAGs and on every
worker: ``{"name": "vmkeep", "classpath": "vmkeep_airflow.bundle.VmkeepDagBundle", "kwargs": {}}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.local import LocalDagBundle

_PACKAGE = Path(__file__).parent


def dag_folder() -> Path:
    """Return the folder of the DAG files: inside the installed package, or at the top of a checkout."""
    packaged = _PACKAGE / "dags"
    return packaged if packaged.is_dir() else _PACKAGE.parents[1] / "dags"


class VmkeepDagBundle(LocalDagBundle):
    """The DAG files of the installed vmkeep."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(path=str(dag_folder()), **kwargs)
