"""``pip install 'vmkeep[airflow]'`` in an empty environment: the wheel alone gives Airflow its DAGs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from demo.lab import Lab
from tests.e2e.installing import Environment, build_wheel, install

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAGS = {
    *("backup_window_example", "repository_check", "repository_maintenance", "snapshot_sweep", "vm_backup"),
    *("vm_restore", "host_config_backup", "missed_backups", "missed_windows", "disaster_recovery", "disk_attach"),
    *("recovery_drill_example", "restore_undo", "restore_accept", "export_point", "guest_checks", "verify_points"),
    "data_quality",
    "malware_scan",
    "proxy_check",
}
BUNDLE = {"name": "vmkeep", "classpath": "vmkeep_airflow.bundle.VmkeepDagBundle", "kwargs": {}}

LOOK = """
import json, sys, warnings
warnings.simplefilter("ignore")
from airflow import plugins_manager
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag
from airflow.providers_manager import ProvidersManager

providers = ProvidersManager()
packaged = DagBag(str(DagBundlesManager().get_bundle("vmkeep").path))
by_hand = DagBag(sys.argv[1])
plugins_manager.ensure_plugins_loaded()
print(json.dumps({
    "version": providers.providers["vmkeep"].version,
    "connections": sorted(kind for kind, hook in providers.hooks.items() if hook and hook.package_name == "vmkeep"),
    "fields": sorted(providers._connection_form_widgets_from_metadata),
    "plugins": [plugin["name"] for plugin in plugins_manager.get_plugin_info(["name"])],
    "dags": sorted(packaged.dags),
    "by hand": sorted(by_hand.dags),
    "errors": {**packaged.import_errors, **by_hand.import_errors, **plugins_manager.get_import_errors()},
}))
"""

POOLS = """
from airflow.utils.session import create_session
from vmkeep_airflow.pools import create_missing_pools
with create_session() as session:
    print(*create_missing_pools(session))
"""

OWN_FILE = '''"""vmkeep's DAGs in a DAG folder of one's own: Airflow takes each DAG that a file names."""

from vmkeep_airflow.dags.vm_backup import dag as vm_backup
from vmkeep_airflow.dags.vm_restore import dag as vm_restore
'''


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Environment:
    wheel = build_wheel(tmp_path_factory.mktemp("wheel"))
    return install(wheel, tmp_path_factory.mktemp("with-airflow") / "env", "airflow")


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("airflow")
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([BUNDLE]),
    }


def test_the_wheel_brings_provider_forms_plugin_and_dags(installed, settings, tmp_path):
    (tmp_path / "vmkeep_dags.py").write_text(OWN_FILE)

    found = json.loads(installed.well("python", "-c", LOOK, str(tmp_path), **settings).splitlines()[-1])

    assert found["errors"] == {}
    assert found["version"] == installed.well("python", "-c", "import vmkeep; print(vmkeep.__version__)").strip()
    assert found["connections"] == ["vmkeep", "vmkeep_guest", "vsphere"]
    assert {"extra__vsphere__thumbprint", "extra__vmkeep__retention"} <= set(found["fields"])
    assert found["plugins"].count("vmkeep") == 1
    assert set(found["dags"]) == DAGS
    assert found["by hand"] == ["vm_backup", "vm_restore"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("vmlab") / "lab", options=["--data-disk-gib", "0.0625"], env=os.environ)
    lab.start()
    try:
        lab.wait_ready()
        yield lab
    finally:
        lab.stop()


@pytest.mark.soak
def test_a_vm_is_backed_up_by_the_dag_of_the_wheel(installed, settings, lab, tmp_path):
    repository = str(tmp_path / "repo")
    installed.well("vmkeep", "repo", "init", "-r", repository)
    connections = {
        "AIRFLOW_CONN_VSPHERE_DEFAULT": json.dumps(lab.wait_ready().connection()),
        "AIRFLOW_CONN_VMKEEP_DEFAULT": json.dumps({"conn_type": "vmkeep", "host": repository}),
    }
    installed.well("airflow", "db", "migrate", **settings)
    assert installed.well("python", "-c", POOLS, **settings).splitlines()[-1] == "backup_proxy"

    backup = ("dags", "test", "vm_backup", "--bundle-name", "vmkeep", "--conf", json.dumps({"vm": "name:app01"}))
    installed.well("airflow", *backup, **settings, **connections)

    (point,) = json.loads(installed.well("vmkeep", "point", "list", "-r", repository, "--json"))
    assert point["vm_name"] == "app01"
