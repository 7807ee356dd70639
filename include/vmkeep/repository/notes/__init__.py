"""Small blobs beside the data, by which runs, people and maintenance tell each other what they do and know.

No note is needed to restore. Most follow one pattern: put your note, then look for the notes of others; they do the
same in the other order, so at least one of two parties sees the other. No lock is held and no clocks are compared.

*Of runs*: the area of a run (``runs``), the begin of each try (``tries``), and leases with the fence, by which a
clean-up learns that no copy is at work (``leases``). *Of maintenance*: packs that a sweep is about to take
(``plans``) and points that a prune is about to forget (``forgetting``). *Of restore points*: pins and known damage
(``marks``), and the note that a point was sealed, which tells a forgotten point from a lost one (``sealednotes``).
*Of packs and segments*: damage that a check found (``damage``).
"""

from vmkeep.repository.notes.damage import BadFrame, DamageNotes, KnownDamage, PackDamage, PackState
from vmkeep.repository.notes.forgetting import Forgettings
from vmkeep.repository.notes.leases import EXPIRES_AFTER, Lease, is_held
from vmkeep.repository.notes.marks import Damage, Lost, Marks, Pin, PointMarks
from vmkeep.repository.notes.plans import Plan, Plans, Sweep
from vmkeep.repository.notes.runs import LEASES, SEALING, RunArea
from vmkeep.repository.notes.sealednotes import SealedNotes, note_of
from vmkeep.repository.notes.tries import Footing, note_fields

__all__ = [
    "EXPIRES_AFTER",
    "LEASES",
    "SEALING",
    "BadFrame",
    "Damage",
    "DamageNotes",
    "Footing",
    "Forgettings",
    "KnownDamage",
    "Lease",
    "Lost",
    "Marks",
    "PackDamage",
    "PackState",
    "Pin",
    "Plan",
    "Plans",
    "PointMarks",
    "RunArea",
    "SealedNotes",
    "Sweep",
    "is_held",
    "note_fields",
    "note_of",
    "runs",
    "sealednotes",
    "tries",
]
