"""The documented installation, as it is written: from nothing to the first green backup, and a restore."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from demo.api import AirflowApi
from demo.lab import LabAddress, LabControl
from tests.composed import ROOT, composed, variables_of
from tests.e2e.composed_site import PYTHON, Site
from tests.patience import HANG, eventually

pytestmark = [pytest.mark.soak, pytest.mark.slow]

HUB = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")
CHECKED_OUT = ("requirements-site.txt", "pyproject.toml", "README.md", "LICENSE", "include", "plugins", "dags")


def within(environment):
    return {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "UV_"))} | {
        "PATH": f"{environment}/bin:{os.environ['PATH']}"
    }


@pytest.fixture(scope="module")
def clock():
    """Seconds of each step; shown at the end."""
    laps = [("", time.monotonic())]
    yield lambda name: laps.append((name, time.monotonic()))
    for (name, at), (_, before) in zip(laps[1:], laps, strict=False):
        print(f"{at - before:7.1f} s  {name}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def environment(folder, clock):
    """A fresh environment of Debian's own Python, filled by the Dockerfile's own commands."""
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in CHECKED_OUT:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, checkout / name)
    made = folder / "environment"
    subprocess.run([PYTHON, "-m", "venv", made], check=True)
    stage = (ROOT / "Dockerfile").read_text().partition(" AS airflow")[2].partition("\nFROM")[0]
    for command in re.findall(r"^RUN (pip install (?:.*\\\n)*.*)$", stage, re.MULTILINE):
        # A container has one Python. Here --system would mean the one of this machine, and change its packages.
        aimed = command.replace(" --system ", f" --python {made}/bin/python ")
        assert "--system" not in aimed
        subprocess.run(["sh", "-euc", aimed], env=within(made), check=True, cwd=checkout, timeout=HANG)
    clock("Python packages")
    return made


@pytest.fixture(scope="module")
def variables(folder):
    """A filled-in .env; the administrator's password looks like an option."""
    given = variables_of(ROOT / ".env.example")
    first = (ROOT / ".env.example").read_text().partition("\n# Where VMware's VDDK")[0]
    needed = [name for name in given if re.search(rf"^{name}=$", first, re.MULTILINE)]
    made = {name: secrets.token_urlsafe(24) for name in needed}
    made["AIRFLOW_ADMIN_PASSWORD"] = f"-{made['AIRFLOW_ADMIN_PASSWORD']}"
    made["AIRFLOW_FERNET_KEY"] = f"{secrets.token_urlsafe(32)}="
    return given | made | {"VMKEEP_VDDK_DIR": str(folder / "vddk"), "VMKEEP_PROXIES": "site-b"}


@pytest.fixture(scope="module")
def site(folder, environment, variables, clock):
    made = Site(folder, environment, variables)
    try:
        made.start_postgres()
        made.start("redis")
        made.start("s3")
        made.start("lab")
        made.wait_healthy("redis", "s3")
        clock("PostgreSQL, Redis, S3")
        print(made.run("init"))
        clock("init")
        for name in (*HUB, "proxy"):
            made.start(name, AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT="8795" if name == "proxy" else "8793")
        made.wait_healthy("api-server")
        clock("API server")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def lab(site, folder):
    site.wait_healthy("lab")
    said = json.loads((folder / "lab" / "serve.json").read_text().splitlines()[0])
    (folder / "vddk" / "lib64").symlink_to(Path(said["vddk"]) / "lib64")  # as if it was unpacked there
    address = LabAddress(**{name: said[name] for name in LabAddress.__dataclass_fields__})
    return replace(address, certificate=address.certificate.replace("/srv/lab", str(folder / "lab")))


@pytest.fixture
def api(site, lab, variables):
    with site.network():
        api = AirflowApi(
            f"http://{site.addresses['api-server']}:8080", user="admin", password=variables["AIRFLOW_ADMIN_PASSWORD"]
        )
        if not any(each["connection_id"] == "vsphere_default" for each in connections(api)):
            vsphere = lab.connection()
            vsphere["extra"] = {"thumbprint": lab.thumbprint}  # the folder of VDDK is the one that the proxy knows
            api.connect("vsphere_default", vsphere)
        yield api


def connections(api):
    return api.call("GET", "/api/v2/connections")["connections"]


def finished(api, dag_id, run):
    """Wait for a run to end as a success, and return its tasks."""
    state = api.wait(dag_id, run, seconds=HANG)
    tasks = api.tasks(dag_id, run)
    wrong = [task for task in tasks if task["state"] != "success"]
    assert state == "success", "\n".join(f"{task['task_id']}: {api.log(dag_id, task)[-2000:]}" for task in wrong)
    return tasks


def shown(heading):
    """The commands that the page shows below a heading."""
    page = (ROOT / "docs" / "operations" / "installation.md").read_text()
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL))


def test_the_first_backup_is_green_as_the_page_starts_it(site, api, clock):
    eventually(lambda: api.knows("vm_backup") and api.knows("vm_restore"), "the DAGs")
    clock("DAGs")
    site.run("init", "bash", "-euc", shown("The first backup"))
    tasks = finished(api, "vm_backup", "first")
    clock("first backup")
    where = {task["task_id"]: (task["queue"], task["hostname"]) for task in tasks}
    assert where["copy_disk"] == ("backup_proxy", "proxy")
    assert where["catalog"] == ("default", "worker")


def test_its_restore_is_byte_for_byte(api, lab, clock):
    finished(api, "vm_restore", api.trigger("vm_restore", point="latest:app01", new_name="app01-restored"))
    clock("restore")
    control = LabControl(lab)
    before, after = control.hashes("app01"), control.hashes("app01-restored")
    assert [key for key in (2000, 2001, 16000) if before[key] != after[key]] == []


def test_a_proxy_on_another_host_with_its_own_queue_does_the_run_that_names_it(site, api, variables):
    of_the_hub = ("POSTGRES_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_ADMIN_PASSWORD")
    there = variables | dict.fromkeys(of_the_hub, "not-here")
    there |= {"COMPOSE_PROFILES": "proxy", "VMKEEP_HUB": "127.0.0.1", "VMKEEP_PROXY_HOST": "proxy-b"}
    site.services["proxy-b"] = composed(there | {"VMKEEP_PROXY_QUEUE": "site-b"})["services"]["proxy"]
    site.start("proxy-b", AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT="8796")

    tasks = finished(api, "vm_backup", api.trigger("vm_backup", vm="name:app01", proxy="site-b"))

    assert {task["hostname"] for task in tasks if task["queue"] != "default"} == {"proxy-b"}
    assert {task["pool"] for task in tasks if task["task_id"] == "copy_disk"} == {"site-b"}


def test_every_backup_is_in_the_catalog(site):
    query = (
        "s.create_engine(os.environ['VMKEEP_CATALOG']).connect().execute(s.text('SELECT * FROM vmkeep2_point')).all()"
    )
    assert site.run("init", "python", "-c", f"import os, sqlalchemy as s; print({query})").count("app01") >= 2


def test_what_a_person_changes_in_a_connection_counts_and_stays(site, api):
    (connection,) = [each for each in connections(api) if each["connection_id"] == "vmkeep_default"]
    extra = json.dumps(json.loads(connection["extra"]) | {"retention": "last 1"})
    api.call("PATCH", "/api/v2/connections/vmkeep_default?update_mask=extra",
             {"connection_id": "vmkeep_default", "conn_type": "vmkeep", "extra": extra})  # fmt: skip
    site.run("init")
    api.call("PATCH", "/api/v2/dags/repository_maintenance", {"is_paused": False})

    run = api.trigger("repository_maintenance", dry_run=True)

    finished(api, "repository_maintenance", run)
    assert api.xcom("repository_maintenance", run, "prune")["rule"] == "last 1"


def test_debians_own_pip_makes_the_environment_as_the_page_does(folder, environment):
    """Its release 23.0.1 refuses a list with hashes, unless it is told not to look for what the list lacks."""
    made = folder / "by-pip"
    for command in shown("Without Docker").replace("/opt/vmkeep/environment", str(made)).splitlines():
        subprocess.run(
            ["sh", "-euc", command.replace("python3 ", f"{PYTHON} ")],
            env=within(made), check=True, cwd=folder / "checkout", timeout=3 * HANG,
        )  # fmt: skip
    subprocess.run([made / "bin" / "pip", "check"], check=True)
    subprocess.run([made / "bin" / "vmkeep", "--version"], check=True)
