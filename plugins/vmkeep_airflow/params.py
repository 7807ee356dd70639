"""Params that several DAGs share, with the texts of their trigger forms."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy, deepcopy
from typing import Any

from airflow.sdk import DAG, Param
from airflow.sdk.definitions.param import ParamsDict

from vmkeep.model.transport import DEFAULT_MODES, TransportMode
from vmkeep.policy import field_of
from vmkeep_airflow.choicewords import WORDS
from vmkeep_airflow.links import page_of_fleet
from vmkeep_airflow.proxies import BACKUP_PROXY, proxies

_WHERE = "Where"

TRANSPORTS = Param(
    [mode.value for mode in DEFAULT_MODES],
    type="array",
    items={"type": "string", "enum": [mode.value for mode in TransportMode]},
    examples=[mode.value for mode in TransportMode],
    minItems=1,
    title="Transport modes",
    description="How VDDK may reach the disks, the preferred way first. By san and hotadd, a restore writes under a "
    "temporary snapshot; new disks for a VM are written by nbdssl and nbd.",
    section=_WHERE,
)

VSPHERE = Param(
    "vsphere_default",
    type="string",
    minLength=1,
    title="vSphere connection",
    description="Airflow connection to vCenter or ESXi.",
    section=_WHERE,
)

REPOSITORY = Param(
    "vmkeep_default",
    type="string",
    minLength=1,
    title="Repository connection",
    description="Airflow connection to the repository.",
    section=_WHERE,
)

PROXY = Param(
    BACKUP_PROXY,
    type="string",
    enum=list(proxies()),
    title="Proxy",
    description="Queue and pool of the proxies that do the work. The setting [vmkeep] proxies lists more of them.",
    section=_WHERE,
)

POLICY = Param(
    None,
    type=["null", "string"],
    pattern=field_of(("name",))["pattern"],
    title="Policy",
    description="The policy that the restore point belongs to: its retention counts for the VM. A window fills it in.",
    section=_WHERE,
)


_DRAFT = "http://json-schema.org/draft-07/schema#"
"""The draft of JSON Schema that the params are written in. Each task checks all of them, which takes three times as
long by the newest draft, the default. The keywords that are used here mean the same in both."""


def optional_text(**texts: str) -> Param:
    """Return a Param for a text that may stay empty."""
    kwargs: dict[str, Any] = {"type": ["null", "string"], **texts}
    return Param(None, **kwargs)


def optional_number(**texts: str) -> Param:
    """Return a Param for a whole number from 1 that may stay empty."""
    kwargs: dict[str, Any] = {"type": ["null", "integer"], "minimum": 1, **texts}
    return Param(None, **kwargs)


def optional_lines(**texts: str) -> Param:
    """Return a Param for any number of texts, one in each line of the form."""
    kwargs: dict[str, Any] = {"type": ["null", "array"], "items": {"type": "string"}, **texts}
    return Param([], **kwargs)


def optional_lines_or_numbers(**texts: str) -> Param:
    """Return a Param for any number of texts, one in each line of the form, where the API takes whole numbers, too.

    Airflow's form has lines only for items of type ``string``, and an editor of JSON for all others. A schema of
    draft 7 ignores whatever stands beside a reference, so that the form reads the type, and the check the reference.
    """
    item = {"$ref": "#/definitions/text_or_number", "type": "string"}
    of_both = {"text_or_number": {"type": ["string", "integer"], "minimum": 0}}
    kwargs: dict[str, Any] = {"type": ["null", "array"], "items": item, "definitions": of_both, **texts}
    return Param([], **kwargs)


_LOOKED_UP = frozenset({"vm", "point", "points"})
"""Fields whose values a person looks up in the web view. The form itself lists none: with each new point Airflow would
keep a new version of each DAG."""


def _worded(name: str, param: Param) -> Param:
    """Return a copy of a param for one DAG, because a run's values go into it, with plain words for its choices."""
    own = copy(param)
    own.value, own.schema = deepcopy(param.value) if param.has_value else param.value, deepcopy(param.schema)
    if own.has_value and isinstance(kind := own.schema.get("type"), str):
        # Airflow's form shows a red star at each field whose type has no null. A run without a value is refused anyhow.
        own.schema["type"], own.schema["allOf"] = ["null", kind], [{"type": kind}]
    if name in WORDS and ("enum" in own.schema or "enum" in own.schema.get("items", {})):
        own.schema["values_display"] = dict(WORDS[name])
    if name in _LOOKED_UP:
        own.schema["description_md"] = f"{own.description} [All VMs and their points]({page_of_fleet()})"
        own.description = None  # because Airflow shows only one of both
    return own


def give_params(dag: DAG, params: Mapping[str, Param]) -> None:
    """Give a DAG its params. Called as the last step of a DAG file, because each task made later takes copies of them.

    Airflow reads the file in every task, and there the copies took half of the time. They also stood in the
    database, once for each task, and no task needs them: it gets its run's params from the DAG.
    """
    own = {name: _worded(name, param) for name, param in params.items()}
    for param in own.values():
        param.schema["$schema"] = _DRAFT
    dag.params = ParamsDict(own)
