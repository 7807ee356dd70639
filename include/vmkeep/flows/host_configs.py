"""Backs up the configurations of ESXi hosts, each as a restore point of its own kind.

Each host makes a bundle of its configuration, which is fetched, checked, stored, read back and sealed. A host that
fails stops no other. The hosts are taken in batches: a batch is fetched at once and stored together, so that not every
host fills a pack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from enum import StrEnum

from vmkeep.errors import AmbiguousError, NotFoundError, Recovery, SomeFailedError, VmKeepError
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.entering import enter_point
from vmkeep.flows.host_bundle import BundleFacts, read_bundle, same_uuid
from vmkeep.flows.host_identity import HostKeys
from vmkeep.lateclass import dataclass
from vmkeep.model.hostconfig import BUNDLE, HostRelease
from vmkeep.model.point import BackupMode, Consistency, Power, Quiesce, RestorePoint, VmIdentity
from vmkeep.model.site import Site
from vmkeep.model.wording import counted_of
from vmkeep.repository import Repository, open_site_repository, point_id
from vmkeep.vsphere.hostbundles import KnownHost, fetch_bundle, known_hosts, named
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

_AT_ONCE = 8
"""Number of hosts that make their bundles at the same time."""
_SHOWN = 5
"""Number of names that one message lists."""


class HostState(StrEnum):
    """The end of one host's backup."""

    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostBackupRequest:
    """A request to back up the configurations of hosts."""

    run: str
    """Run key. A retry of the run takes only the hosts that the run has not yet sealed."""
    hosts: tuple[str, ...] = ()
    """Names, managed object ids or hardware UUIDs; none: every host that the user may see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult:
    """The end of one host's backup, with its restore point or the reason why there is none."""

    name: str
    moref: str
    state: HostState
    product: str
    point: str | None = None
    bundle_bytes: int = 0
    lockdown: str | None = None
    """The lockdown mode of the host; ``None``: none is known."""
    warnings: tuple[str, ...] = ()
    problem: str = ""
    error: str = ""
    """Class of the error."""
    recovery: Recovery = Recovery.STOP


@dataclass(frozen=True, slots=True, kw_only=True)
class HostBackups:
    """The ends of all hosts' backups, sorted by name."""

    results: tuple[HostResult, ...]

    @property
    def failed(self) -> tuple[HostResult, ...]:
        """The hosts of which there is no point."""
        return tuple(result for result in self.results if result.state is HostState.FAILED)

    def require_all(self) -> None:
        """Return if every host was backed up.

        :raises SomeFailedError: some were not. The message names them.
        """
        failed = self.failed
        if not failed:
            return
        names = ", ".join(result.name for result in failed[:_SHOWN]) + (" …" if len(failed) > _SHOWN else "")
        may_help = any(result.recovery is Recovery.RETRY for result in failed)
        raise SomeFailedError(
            f"the configuration of {counted_of(len(failed), len(self.results), 'host')} could not be backed up: "
            f"{names}; {failed[0].problem}",
            recovery=Recovery.RETRY if may_help else Recovery.STOP,
        )


OnResult = Callable[[HostResult], None]


def back_up_hosts(site: Site, request: HostBackupRequest, *, on_result: OnResult = lambda _result: None) -> HostBackups:
    """Back up the configurations of hosts.

    :param on_result: is called with each result as soon as it is known.
    :raises NotFoundError: a host that the request names does not exist, or the user sees no host at all.
    :raises AmbiguousError: a name of the request fits several hosts.
    :raises CorruptError: a bundle cannot be read back; nothing more is sealed into this repository.
    """
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        every = known_hosts(session)
        chosen = _chosen(session, every, request.hosts)
        work = _Work(site, repository, session, request.run, every)
        results: list[HostResult] = []
        with repository.at_work(request.run):  # its lease shows maintenance that the run is alive
            for first in range(0, len(chosen), _AT_ONCE):
                for result in work.back_up(chosen[first : first + _AT_ONCE]):
                    results.append(result)
                    on_result(result)
    return HostBackups(results=tuple(results))


def _chosen(session: Session, every: Sequence[KnownHost], wanted: Sequence[str]) -> tuple[KnownHost, ...]:
    if not every:
        raise NotFoundError(f"the user {session.user_name} sees no host of {session.host}")
    if not wanted:
        return tuple(every)
    chosen: dict[str, KnownHost] = {}
    for text in wanted:
        found = named(every, text)
        if not found:
            known = ", ".join(host.name for host in every[:_SHOWN]) + (" …" if len(every) > _SHOWN else "")
            raise NotFoundError(f"no host '{text}' on {session.host}; there are {known}")
        if len(found) > 1:
            ids = ", ".join(host.moref for host in found)
            raise AmbiguousError(f"'{text}' fits {len(found)} hosts: name one of {ids}")
        chosen[found[0].moref] = found[0]
    return tuple(sorted(chosen.values(), key=lambda host: host.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fetched:
    """A host's bundle, checked and not yet stored."""

    host: KnownHost
    taken_at: datetime
    content: bytes
    facts: BundleFacts


class _Work:
    """One run's work on hosts of one server."""

    def __init__(
        self, site: Site, repository: Repository, session: Session, run: str, every: Sequence[KnownHost]
    ) -> None:
        self._site = site
        self._repository = repository
        self._session = session
        self._run = run
        self._server = server_uuid(session)
        self._keys = HostKeys(every, self._server)

    def back_up(self, batch: Sequence[KnownHost]) -> Iterator[HostResult]:
        """Back up some hosts, and yield the result of each, in their order."""
        with ThreadPoolExecutor(len(batch)) as threads:
            fetched = list(threads.map(self._fetch, batch))
        points = self._store([found for found in fetched if isinstance(found, _Fetched)])
        for host, found in zip(batch, fetched, strict=True):
            if not isinstance(found, _Fetched):
                yield found
                continue
            point, begun = points[host.moref]
            self._repository.load_attachment(point, BUNDLE)  # because nobody reads it again until the host is dead
            ref = self._repository.seal(point, begun=begun)
            enter_point(self._site, self._repository.id, point)
            yield self._done(host, ref, bundle_bytes=len(found.content), warnings=point.warnings)

    def _fetch(self, host: KnownHost) -> _Fetched | HostResult:
        """Return a host's bundle, or the host's result if the run has sealed it before, or cannot get the bundle."""
        try:
            if (sealed := self._sealed(host)) is not None:
                return self._done(host, sealed)
            taken_at = self._session.server_time()
            content = fetch_bundle(self._session, host)
            facts = read_bundle(content, host=host.name)
        except VmKeepError as error:
            return _failed(host, error)
        return _Fetched(host=host, taken_at=taken_at, content=content, facts=facts)

    def _store(self, fetched: Sequence[_Fetched]) -> dict[str, tuple[RestorePoint, str]]:
        """Store the bundles together; return the point of each host, and the try in which it was stored."""
        if not fetched:
            return {}
        # Each point ends its own try when it is sealed, and all tries begin before anything is looked up.
        tries = [self._repository.begin_run(self._run) for _ in fetched]
        files = {found.host.moref: found.content for found in fetched}
        stored = self._repository.store_attachments(files, run=self._run, begun=tries[0])
        return {
            found.host.moref: (self._point(found, *stored[found.host.moref]), begun)
            for found, begun in zip(fetched, tries, strict=True)
        }

    def _point(self, found: _Fetched, root: str, size: int) -> RestorePoint:
        host = found.host
        return RestorePoint(
            id=self._id(host),
            vm=VmIdentity(
                name=host.name,
                key=self._keys.of(host),
                moref=host.moref,
                vcenter=self._server,
                server=self._session.host,
            ),
            taken_at=found.taken_at,
            run=self._run,
            mode_asked=BackupMode.ASIS,
            mode_used=BackupMode.ASIS,
            quiesce_asked=Quiesce.NONE,
            consistency=Consistency.APPLICATION,
            images=(),
            attachments={BUNDLE: root},
            attachment_sizes={BUNDLE: size},
            power=Power.ON,
            warnings=tuple(self._warnings(found)),
            host=HostRelease(
                uuid=host.uuid,
                product=host.product,
                version=host.version,
                build=host.build,
                release=found.facts.release,
            ),
        )

    def _warnings(self, found: _Fetched) -> Iterator[str]:
        host, told = found.host, found.facts.uuid
        if not self._keys.is_alone(host):
            yield (
                f"several hosts have the hardware UUID {host.uuid}: the points of {host.name} are kept by its name, "
                "and a restore has to be told which host is meant"
            )
        if host.uuid and not same_uuid(host.uuid, told):
            yield (
                f"the bundle names the hardware UUID {told or 'of no host'}, and vSphere tells {host.uuid}: the host "
                "may refuse to restore it without force"
            )

    def _id(self, host: KnownHost) -> str:
        return point_id(self._run, self._keys.of(host), f"{self._server}:{host.moref}")

    def _sealed(self, host: KnownHost) -> str | None:
        """Return the ref of the point that an earlier try of this run has sealed of a host."""
        point = self._id(host)
        return next(
            (name.ref for name in self._repository.manifests.names(self._keys.of(host)) if name.id == point), None
        )

    def _done(self, host: KnownHost, ref: str, *, bundle_bytes: int = 0, warnings: tuple[str, ...] = ()) -> HostResult:
        return HostResult(
            name=host.name,
            moref=host.moref,
            state=HostState.DONE,
            product=host.product,
            point=ref,
            bundle_bytes=bundle_bytes,
            lockdown=host.lockdown,
            warnings=warnings,
        )


def _failed(host: KnownHost, error: VmKeepError) -> HostResult:
    return HostResult(
        name=host.name,
        moref=host.moref,
        state=HostState.FAILED,
        product=host.product,
        lockdown=host.lockdown,
        problem=str(error),
        error=type(error).__name__,
        recovery=error.recovery,
    )
