"""All errors that vmkeep raises on purpose, with the reaction that each asks for.

An error has its own class if callers react to it in their own way. ``recovery`` tells Airflow's operators whether a
retry can help; ``exit_code`` is the exit code of the command line. A message is one line: the problem, the object, the
place, and the remedy.
"""

from __future__ import annotations

from enum import StrEnum

_EXCERPT = 24
"""Characters of a long text that a message repeats."""


class Recovery(StrEnum):
    """The choices of a caller after an error."""

    RETRY = "retry"
    """Transient: the same call may succeed later without a change."""

    RESTART = "restart"
    """The input is stale: plan again (new snapshot, full read), then retry."""

    STOP = "stop"
    """A person must act, because a retry would waste hours or hide damage."""


class VmKeepError(Exception):
    """Base of every error that vmkeep raises on purpose."""

    recovery: Recovery = Recovery.STOP
    exit_code: int = 1


class UsageError(VmKeepError):
    """The request itself is wrong: a bad value, a missing setting, two options that exclude each other."""

    exit_code = 2


class MissingExtraError(UsageError):
    """An optional part of vmkeep is not installed. The message names the extra of the package that brings it."""

    exit_code = 3


class SelectorError(UsageError):
    """A selector of VMs cannot be parsed. The message names the place, and the words that are expected there."""

    exit_code = 4

    def __init__(self, why: str, *, text: str, at: int) -> None:
        rest = text[at : at + _EXCERPT]
        where = f"at character {at + 1} ('{rest}{'…' if len(text) > at + _EXCERPT else ''}')" if rest else "at its end"
        super().__init__(f"selector, {where}: {why}")
        self.why = why
        self.at = at
        """The place in the selector, in characters from 0."""


class PolicyError(UsageError):
    """A policy file has faults. The message lists them with file, line and column."""

    exit_code = 5


class MappingError(UsageError):
    """A mapping of a restore to its places has faults. The message lists them with line and column."""

    exit_code = 6


class PlanError(UsageError):
    """A recovery plan has faults, or does not fit the restore points. The message names the first one."""

    exit_code = 8


class UnfitError(VmKeepError):
    """The examination of the installation found a fault. The output names each, and what to do about it."""

    exit_code = 9


class NotFoundError(VmKeepError):
    """An object that the user named does not exist: a VM, a restore point, a disk, a datastore."""

    exit_code = 10


class AmbiguousError(VmKeepError):
    """A name fits more than one thing; the message lists them."""

    exit_code = 11


class ConflictError(VmKeepError):
    """The target exists already, or does not match the data to be written into it."""

    exit_code = 12


class UnsupportedError(VmKeepError):
    """The object exists, but cannot be protected or restored in the requested way."""

    exit_code = 13


class SomeFailedError(VmKeepError):
    """Some VMs, hosts or files could not be backed up or fetched, or some VMs are overdue; the output names each."""

    exit_code = 14

    def __init__(self, message: str, *, recovery: Recovery) -> None:
        super().__init__(message)
        self.recovery = recovery


class SnapshotsInTheWayError(UnsupportedError):
    """Change tracking may not be switched on while the VM has snapshots, because it would miss changes silently."""

    exit_code = 15


class AuthenticationError(VmKeepError):
    """User name or password was refused."""

    exit_code = 20


class CredentialsExpiredError(AuthenticationError):
    """Temporary credentials have expired. The next try gets new ones."""

    recovery = Recovery.RETRY
    exit_code = 25


class PermissionDeniedError(VmKeepError):
    """The user is known but lacks a privilege; the message names it and the object."""

    exit_code = 21

    def __init__(self, message: str, *, privilege: str = "", target: str = "") -> None:
        super().__init__(message)
        self.privilege = privilege
        self.target = target


class CertificateError(VmKeepError):
    """The server's certificate is not the one that was pinned. Nothing was sent to the server."""

    exit_code = 22


class VSphereError(VmKeepError):
    """vSphere refused a call, or a call or a task failed there. ``fault`` is the fault's type."""

    exit_code = 23

    def __init__(self, message: str, *, fault: str = "", keys: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.fault = fault
        self.keys = keys
        """Types of the faults that caused this one, and keys of its messages. They do not depend on the language."""


class QuiesceFailedError(VSphereError):
    """The guest could not be made to flush. A snapshot without quiescing can still be taken."""

    exit_code = 24


class GuestCommandError(VmKeepError):
    """A command in the guest failed, did not end in time, or its end is not known."""

    recovery = Recovery.RETRY
    exit_code = 26


class ArrayHookError(VmKeepError):
    """The hook round a backup's copy failed, took too long, or gave a wrong answer. The log has its output."""

    recovery = Recovery.RETRY
    exit_code = 27


class UnreachableError(VmKeepError):
    """A server does not answer: vCenter, ESXi, S3, SSH."""

    recovery = Recovery.RETRY
    exit_code = 30


class TransientError(VmKeepError):
    """The other side was busy or dropped the call. The same call may succeed later."""

    recovery = Recovery.RETRY
    exit_code = 31


class VmOutOfReachError(TransientError):
    """Until a VM's host and datastores are back, only its name can be read. Its snapshots are not known."""

    exit_code = 35


class DeadlineError(VmKeepError):
    """A wait took longer than its deadline allows."""

    recovery = Recovery.RETRY
    exit_code = 32

    def __init__(self, *, waiting_for: str, seconds: float) -> None:
        super().__init__(f"gave up after {seconds:.0f} s waiting for {waiting_for}")
        self.waiting_for = waiting_for


class TaskForgottenError(TransientError):
    """vCenter was restarted and has forgotten a task. Only the task's object shows whether the work was done."""

    exit_code = 34


class LimitReachedError(VmKeepError):
    """A limit leaves no room for this work now. The caller waits, without keeping a worker, and asks again."""

    recovery = Recovery.RETRY
    exit_code = 36

    def __init__(self, message: str, *, again_after: float) -> None:
        super().__init__(message)
        self.again_after = again_after
        """Seconds after which to ask again."""


class LowSpaceError(VmKeepError):
    """A datastore has too little free space for a snapshot. Other snapshots that end meanwhile may make room."""

    recovery = Recovery.RETRY
    exit_code = 37


class GuestNotUpError(VmKeepError):
    """A machine that was started from a restore point did not show in time that its system is up."""

    exit_code = 38

    def __init__(self, message: str, *, certain: bool = False) -> None:
        super().__init__(message)
        self.certain = certain
        """Whether the machine itself tells that its system does not start. Otherwise it may only be slow."""


class ConversionError(VmKeepError):
    """A guest could not be converted for another hypervisor. The export is complete, without the conversion."""

    exit_code = 39


class StaleError(VmKeepError):
    """The plan no longer fits: the snapshot is gone, disks of two snapshots were mixed, or the change id was reset."""

    recovery = Recovery.RESTART
    exit_code = 40


class ChangesUnknownError(StaleError):
    """vSphere cannot tell the changes of a disk since a change id, so the whole disk has to be read."""

    exit_code = 42

    def __init__(self, message: str, *, reason: str = "answer-unfit") -> None:
        super().__init__(message)
        self.reason = reason
        """The ``FullReason`` of the full read that follows."""


class DiskMovedError(StaleError):
    """A disk is not where it was just found, because its VM was moved meanwhile; the next try looks again."""

    recovery = Recovery.RETRY
    exit_code = 43


class FencedError(VmKeepError):
    """This copy was told to stop because its run is being cleaned up."""

    exit_code = 41


class QualityError(VmKeepError):
    """A check of data quality found a failure, or could not look at everything it should. The report names all."""

    exit_code = 96


class CancelledError(VmKeepError):
    """Somebody stopped the transfer, or the process that had started it is gone. It can be started again."""

    recovery = Recovery.RETRY
    exit_code = 130


class VddkError(VmKeepError):
    """VixDiskLib failed. ``code`` is the low 16 bits of its VixError."""

    exit_code = 50

    def __init__(self, message: str, *, code: int = 0, recovery: Recovery = Recovery.STOP) -> None:
        super().__init__(message)
        self.code = code
        self.recovery = recovery


class TransferError(VmKeepError):
    """A copy's child process died or broke its protocol. Only this try is lost, not the worker."""

    recovery = Recovery.RETRY
    exit_code = 51


class RepositoryError(VmKeepError):
    """The repository cannot be used: it is no repository, its format is newer, or the key does not fit."""

    exit_code = 60


class StoreError(VmKeepError):
    """The blob store refused or failed a call."""

    recovery = Recovery.RETRY
    exit_code = 61


class StoreFullError(StoreError):
    """The store has no space left."""

    recovery = Recovery.STOP
    exit_code = 62


class StoreReadOnlyError(StoreError):
    """The store's file system is mounted read-only, so nobody can write there, whatever his rights."""

    recovery = Recovery.STOP
    exit_code = 67


class LockedError(StoreError):
    """A blob is locked against deletion until a date, and nobody can shorten the lock."""

    recovery = Recovery.STOP
    exit_code = 64

    def __init__(self, message: str, *, until: str = "") -> None:
        super().__init__(message)
        self.until = until
        """The end of the lock in ISO 8601; empty: it ends when somebody takes off a legal hold."""


class UnlockedError(StoreError):
    """A blob was stored, but could not be locked. Putting it again locks it."""

    exit_code = 65


class BlobNotFoundError(StoreError):
    """There is no blob of that name."""

    recovery = Recovery.STOP
    exit_code = 63


class CatalogError(VmKeepError):
    """The catalog's database cannot be used. Restore points are not affected, because they lie in the repository."""

    exit_code = 66


class CorruptError(VmKeepError):
    """Stored bytes do not match their digest, or a stored structure does not parse."""

    exit_code = 90


class CorruptBlockError(CorruptError):
    """One stored block is damaged."""

    exit_code = 92

    def __init__(self, *, pack: str, offset: int, why: str = "does not match its digest") -> None:
        super().__init__(f"pack {pack}: frame at byte {offset} {why}; run 'vmkeep repo check --read-data'")
        self.pack = pack
        self.offset = offset


class UndecidedError(VmKeepError):
    """A check of a restore point could tell neither that it is good nor that it is bad, so a person has to look."""

    exit_code = 93


class VerificationError(VmKeepError):
    """The bytes read back differ from those written, a point contradicts itself, or a check of it failed."""

    exit_code = 91


class MalwareFoundError(VmKeepError):
    """Malware was found in a restore point. The point stays as it is, and the output names the files."""

    exit_code = 95


class NotScannedError(VmKeepError):
    """A restore point, or a part of it, could not be scanned for malware, so that nobody knows whether it is clean."""

    exit_code = 97
