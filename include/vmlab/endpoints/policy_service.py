"""`POST /pbm`: the policy service of a vCenter, which tells the storage policies of a VM and its disks.

It knows a session by the id in the header of each call (`vcSessionCookie`), not by an HTTP cookie.
"""

import logging
import re
from datetime import UTC, datetime
from typing import Any

from pyVmomi import pbm as _pbm

from vmlab.api import fill, support, vim, vmodl
from vmlab.managed.site import Session, Site, session_needed
from vmlab.managed.storage import assigned_policies, can_hold, storage_policies
from vmlab.managed.world import ROOT_FOLDER
from vmlab.soap import SOAP_BODY_LIMIT, HttpRequest, HttpResponse, SoapRequest, fault_envelope, result_envelope

log = logging.getLogger(__name__)
pbm: Any = _pbm
PATHS = ("/pbm", "/pbm/", "/pbm/sdk")
NEWEST = "pbm.version.v8_0_3_0"
NAMESPACE = "urn:pbm"
VIEW = "StorageProfile.View"


class PolicyService:
    """Answers calls of the policy service."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def handle(self, http: HttpRequest) -> HttpResponse:
        """Answer one SOAP call. A fault is an answer with status 500."""
        body = http.body.read(SOAP_BODY_LIMIT)
        version = _version(http.headers.get("soapaction", ""))
        try:
            request = SoapRequest(body)
            planned = self._site.faults.take(request.method)
            if planned is not None:
                self._site.faults.wait(planned)
            if planned is not None and planned.drop:
                return HttpResponse(drop=True)
            if planned is not None and planned.status is not None:
                return HttpResponse(status=planned.status, body=b"planned fault", content_type="text/plain")
            if planned is not None and planned.fault is not None:
                raise planned.make_fault()
            with self._site.world.lock:
                value = self._answer(request, self._session(body))
            return HttpResponse(body=result_envelope(request.method, request.info, value, version, NAMESPACE))
        except vmodl.MethodFault as fault:
            return HttpResponse(status=500, body=fault_envelope(fill(fault), version, NAMESPACE))

    def _session(self, body: bytes) -> Session | None:
        found = re.search(rb"<(?:\w+:)?vcSessionCookie[^>]*>([^<]+)<", body)
        return self._site.sessions.find(found[1].decode()) if found else None

    def _answer(self, request: SoapRequest, session: Session | None) -> Any:
        if request.method == "PbmRetrieveServiceContent":
            return _content(self._site)
        if session is None:
            raise session_needed(ROOT_FOLDER)
        self._site.access.require(session.user, ROOT_FOLDER, VIEW)
        match request.method:
            case "PbmQueryAssociatedProfiles":
                return [self._result(entity) for entity in request.args["entities"]]
            case "PbmQueryAssociatedProfile":
                return self._result(request.args["entity"]).profileId
            case "PbmQueryProfile":
                return [pbm.profile.ProfileId(uniqueId=policy) for policy in storage_policies(self._site)]
            case "PbmCheckCompatibility":
                policy = request.args["profile"].uniqueId
                return [self._compatible(policy, hub) for hub in request.args.get("hubsToSearch") or ()]
            case "PbmRetrieveContent":
                return [self._profile(each.uniqueId) for each in request.args["profileIds"]]
        log.warning("%s is not supported by vmlab", request.method)
        raise vmodl.fault.NotSupported(msg=f"vmlab does not support {request.method}")

    def _result(self, entity: Any) -> Any:
        vm = vim.VirtualMachine(entity.key.partition(":")[0])
        if entity.objectType not in ("virtualMachine", "virtualDiskId") or not self._site.world.exists(vm):
            fault = vmodl.fault.InvalidArgument(invalidProperty="entity", msg=f"There is no {entity.key}.")
            return pbm.profile.QueryProfileResult(object=entity, fault=fault)
        if entity.serverUuid not in (None, self._site.instance_uuid):
            fault = vmodl.fault.InvalidArgument(invalidProperty="serverUuid", msg="That is another vCenter.")
            return pbm.profile.QueryProfileResult(object=entity, fault=fault)
        policy = assigned_policies(self._site).get(entity.key)
        ids = [pbm.profile.ProfileId(uniqueId=policy)] if policy else []
        return pbm.profile.QueryProfileResult(object=entity, profileId=ids)

    def _compatible(self, policy: str, hub: Any) -> Any:
        """Return the answer about one datastore. One that does not fit has an error."""
        name = self._site.world.get(vim.Datastore(hub.hubId), "name")
        if can_hold(self._site, policy, name):
            return pbm.placement.CompatibilityResult(hub=hub)
        fault = vmodl.fault.InvalidArgument(invalidProperty="profile", msg=f"{name} does not fit the policy.")
        return pbm.placement.CompatibilityResult(hub=hub, error=[fault])

    def _profile(self, policy: str) -> Any:
        known = storage_policies(self._site)
        if policy not in known:
            raise vmodl.fault.InvalidArgument(invalidProperty="profileIds", msg=f"There is no storage policy {policy}.")
        now = self._site.started or datetime.now(UTC)
        return pbm.profile.CapabilityBasedProfile(
            profileId=pbm.profile.ProfileId(uniqueId=policy),
            name=known[policy],
            creationTime=now,
            createdBy="vmlab",
            lastUpdatedTime=now,
            lastUpdatedBy="vmlab",
            profileCategory="REQUIREMENT",
            resourceType=pbm.profile.ResourceType(resourceType="STORAGE"),
            constraints=_constraints(),
            isDefault=False,
        )


def _version(soap_action: str) -> str:
    """Return the version that a request asks for; the serializer drops fields that are newer."""
    found = re.search(r"pbm/([\d.]+)", soap_action)
    known = {str(support.versionIdMap[version]): str(version) for version in support.GetServiceVersions("pbm")}
    return known.get(found[1], NEWEST) if found else NEWEST


def _constraints() -> Any:
    """Return some rule, because the type requires one and no client asks which."""
    rule = fill(pbm.profile.SubProfileCapabilityConstraints.SubProfile(name="rules"))
    return pbm.profile.SubProfileCapabilityConstraints(subProfiles=[rule])


def _content(site: Site) -> Any:
    return pbm.ServiceInstanceContent(
        aboutInfo=pbm.AboutInfo(name="PBM", version="2.0", instanceUuid=site.instance_uuid),
        sessionManager=pbm.auth.SessionManager("SessionManager"),
        capabilityMetadataManager=pbm.capability.CapabilityMetadataManager("CapabilityMetadataManager"),
        profileManager=pbm.profile.ProfileManager("ProfileManager"),
        complianceManager=pbm.compliance.ComplianceManager("complianceManager"),
        placementSolver=pbm.placement.PlacementSolver("placementSolver"),
        replicationManager=pbm.replication.ReplicationManager("ReplicationManager"),
    )
