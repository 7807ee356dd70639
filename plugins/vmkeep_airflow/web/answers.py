"""The JSON twins of the pages: the same view models, as data. ``/vmkeep/openapi.json`` describes them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from vmkeep.model.job import to_json
from vmkeep.web import FleetPage, HardwarePage, VmPage
from vmkeep_airflow.web.access import viewer
from vmkeep_airflow.web.models import FleetChoice, load_fleet_page, load_hardware_page, load_vm_page

answers = APIRouter(prefix="/api", tags=["vmkeep"], dependencies=[Depends(viewer)])


def _json(value: Any) -> Response:
    return Response(to_json(value), media_type="application/json")


@answers.get("/fleet", response_model=FleetPage, summary="Every VM, judged against its policy")
def tell_fleet(choice: FleetChoice) -> Response:
    """Return the page of the fleet as data. Sizes are in bytes, times in UTC."""
    return _json(load_fleet_page(choice))


@answers.get("/vms/{vm_key}", response_model=VmPage, summary="A VM and its restore points")
def tell_vm(
    vm_key: str,
    first: Annotated[int, Query(ge=0, le=1_000_000, description="Newer points that are left out")] = 0,
    before: Annotated[str | None, Query(alias="from", description="Id of a point to compare")] = None,
    after: Annotated[str | None, Query(alias="to", description="Id of the other point")] = None,
) -> Response:
    """Return the page of a VM as data. Sizes are in bytes, times in UTC."""
    return _json(load_vm_page(vm_key, first=first, before=before, after=after))


@answers.get("/hardware", response_model=HardwarePage, summary="The hardware of a VM at two of its restore points")
def tell_hardware(
    before: Annotated[str, Query(alias="from", max_length=300, description="Id of a point")],
    after: Annotated[str, Query(alias="to", max_length=300, description="Id of the other point")],
) -> Response:
    """Return how the saved configurations of two points differ. It opens their repositories."""
    return _json(load_hardware_page(before, after))
