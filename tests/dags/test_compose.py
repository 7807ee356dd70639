"""docker-compose.yaml: valid, without secrets, and running what the demo runs."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

from demo.airflow_home import OUTAGE
from demo.airflow_processes import COMMANDS
from vmkeep_airflow.pools import BACKUP_PROXY

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
ENV = {
    name: value
    for name, _, value in (
        line.partition("=") for line in (ROOT / ".env.example").read_text().splitlines() if re.match(r"[A-Z]", line)
    )
}


def test_the_compose_file_fits_the_published_schema():
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.validate(COMPOSE, schema)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_airflow_service_runs_the_command_that_the_demo_runs(name):
    assert tuple(SERVICES[name]["command"]) == COMMANDS[name]


def test_every_long_running_service_has_a_health_check():
    assert [name for name, service in SERVICES.items() if "healthcheck" not in service] == ["init"]


def test_every_variable_is_in_the_example_and_every_one_there_is_used():
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", TEXT))
    assert used | {"COMPOSE_PROFILES"} == set(ENV)


def test_no_secret_has_a_default():
    secrets = [name for name in ENV if re.search("PASSWORD|SECRET|KEY", name)]
    assert len(secrets) == 8
    assert all(ENV[name] == "" for name in secrets)
    for name in secrets:
        assert re.search(rf"\$\{{{name}:\?", TEXT), f"{name} may be empty"
        assert f"${{{name}:-" not in TEXT


def test_a_task_is_never_handed_out_twice_while_a_copy_may_still_run():
    from airflow.dag_processing.dagbag import DagBag

    seconds = int(SERVICES["scheduler"]["environment"]["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"])
    for dag in DagBag(str(ROOT / "dags")).dags.values():
        for task in dag.tasks:
            assert seconds > task.execution_timeout.total_seconds(), f"{dag.dag_id}.{task.task_id}"


def test_the_demo_and_the_compose_file_let_tasks_live_through_an_outage_alike():
    assert SERVICES["scheduler"]["environment"].items() >= OUTAGE.items()


def test_a_task_lives_through_ten_minutes_without_an_api_server():
    """A call, and a heartbeat is one, is tried again after a random pause, whose longest doubles up to a limit."""
    setting = {name.rpartition("__")[2]: int(value) for name, value in OUTAGE.items()}
    longest = setting["EXECUTION_API_RETRY_WAIT_MAX"]
    pauses = [(1 + min(longest, 2**number)) / 2 for number in range(setting["EXECUTION_API_RETRIES"] - 1)]
    deviation = (longest - 1) / 12**0.5 * len(pauses) ** 0.5
    assert sum(pauses) - 4 * deviation > 600
    assert setting["TASK_INSTANCE_HEARTBEAT_TIMEOUT"] >= 600 + 2 * longest, "or the scheduler takes it for dead"
    assert setting["TASK_QUEUED_TIMEOUT"] >= 600 + 2 * longest, "or it gives up one that waits to begin"
    assert 0.2 * setting["JWT_EXPIRATION_TIME"] >= 600 + 2 * longest, "a token is renewed when a fifth of it is left"


@pytest.mark.parametrize("name", ["proxy", "proxy-lab"])
def test_proxies_work_on_the_queue_that_copies_are_sent_to(name):
    queues = SERVICES[name]["command"][-1].split(",")
    assert BACKUP_PROXY in queues
    assert "default" in queues


def test_every_airflow_service_shares_one_environment():
    shared = SERVICES["scheduler"]["environment"]
    for name in (*COMMANDS, "proxy", "proxy-lab", "init"):
        assert shared.items() <= SERVICES[name]["environment"].items(), name


def test_nothing_is_published_to_the_world_by_default():
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published == ["${AIRFLOW_LISTEN:-127.0.0.1:8080}:8080"]


def test_the_image_installs_the_pinned_requirements():
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r requirements.txt" in dockerfile
    for source in re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.MULTILINE):
        for name in source.split():
            assert (ROOT / name).exists(), name


def test_a_worker_gets_ready_before_it_forks_its_tasks():
    assert SERVICES["proxy"]["environment"]["AIRFLOW__CORE__LAZY_LOAD_PLUGINS"] == "false"
