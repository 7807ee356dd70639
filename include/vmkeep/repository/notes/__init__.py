"""Small blobs beside the data, by which runs, people and maintenance inform each other.

No restore needs a note. Most follow one pattern: each of two parties puts its own note and then looks for the other's.
So at least one of the two sees the other. No lock is held and no clocks are compared.

Notes of runs: the area of a run (``runs``), the first write of a restore (``firstwrite``), the beginning of each try
(``tries``), and leases with the fence, by which a clean-up learns that no copy is at work (``leases``). Notes of
maintenance: packs that a sweep is about to delete (``sweeprecords``) and points that a prune is about to forget
(``forgetting``). Notes about restore points: pins, known damage and doubts (``marks``), the outcomes of checks
(``proofs``), the processes that read a point for long (``uses``), the indexes of their files (``filelists``), and the
note that a point was sealed, which tells a forgotten point from a lost one (``sealednotes``). Notes about packs and
segments: damage that a check found (``damage``), and packs that writers are storing (``announcements``). Notes of
recoveries: the states and reports of recovery plans that were carried out, and the last proofs of each VM
(``recoveries``).
"""

from vmkeep.repository.notes.announcements import (
    Announcement,
    Announcements,
    prefixes_of,
    remove_dead_announcements,
)
from vmkeep.repository.notes.damage import BadFrame, DamageNotes, KnownDamage, PackDamage, PackState
from vmkeep.repository.notes.filelists import FileIndexHead, FileLists, FileListWriter, IndexedVolume
from vmkeep.repository.notes.firstwrite import BEGUN, DISKS, WRITTEN, note_begun
from vmkeep.repository.notes.forgetting import Forgettings
from vmkeep.repository.notes.leases import EXPIRES_AFTER, Lease, is_held
from vmkeep.repository.notes.marks import PointMarks
from vmkeep.repository.notes.markvalues import Damage, Lost, Marks, Pin, Suspicion, Trust
from vmkeep.repository.notes.permitlist import areas_in_use, usages
from vmkeep.repository.notes.permits import Permits
from vmkeep.repository.notes.proofnames import ProofName
from vmkeep.repository.notes.proofs import KEPT_PROOFS, PointProofs
from vmkeep.repository.notes.recoveries import RecoveryNotes
from vmkeep.repository.notes.runs import (
    AGREED_RETENTION,
    ARRAY_HOOKS,
    DUTIES,
    GUEST_THAWS,
    INDEX_STAYS,
    LEASES,
    OWED_COPIES,
    SEALING,
    RunArea,
)
from vmkeep.repository.notes.sealednotes import SealedNotes, note_of
from vmkeep.repository.notes.sweeprecords import Sweep, SweepPlan, SweepRecords
from vmkeep.repository.notes.tries import BegunTry, note_fields
from vmkeep.repository.notes.uses import COUNTS_FOR, OpenUse, PointUses, Use, used_words

__all__ = [
    "AGREED_RETENTION",
    "ARRAY_HOOKS",
    "BEGUN",
    "COUNTS_FOR",
    "DISKS",
    "DUTIES",
    "EXPIRES_AFTER",
    "GUEST_THAWS",
    "INDEX_STAYS",
    "KEPT_PROOFS",
    "LEASES",
    "OWED_COPIES",
    "SEALING",
    "WRITTEN",
    "Announcement",
    "Announcements",
    "BadFrame",
    "BegunTry",
    "Damage",
    "DamageNotes",
    "FileIndexHead",
    "FileListWriter",
    "FileLists",
    "Forgettings",
    "IndexedVolume",
    "KnownDamage",
    "Lease",
    "Lost",
    "Marks",
    "OpenUse",
    "PackDamage",
    "PackState",
    "Permits",
    "Pin",
    "PointMarks",
    "PointProofs",
    "PointUses",
    "ProofName",
    "RecoveryNotes",
    "RunArea",
    "SealedNotes",
    "Suspicion",
    "Sweep",
    "SweepPlan",
    "SweepRecords",
    "Trust",
    "Use",
    "areas_in_use",
    "is_held",
    "note_begun",
    "note_fields",
    "note_of",
    "prefixes_of",
    "remove_dead_announcements",
    "runs",
    "sealednotes",
    "tries",
    "usages",
    "used_words",
]
