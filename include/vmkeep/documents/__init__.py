"""Files that people write: read as a person means them, and compared with a published JSON schema.

``reading`` reads the text of a file. ``document`` reads YAML without YAML's surprises, and remembers where everything
stands. ``schema`` compares it with the schema of its kind of file, in which every field, its description and its
default stand, and words what the schema refuses. All faults are collected, each with line and column (``faults``),
instead of stopping at the first one.

A room with a kind of file of its own, such as policies or mappings, keeps its schema, looks at everything that no
schema knows, and makes its values. Nothing here knows a kind of file.
"""

from vmkeep.documents.document import Document, Path, read_document
from vmkeep.documents.faults import Fault, Place
from vmkeep.documents.reading import read_text
from vmkeep.documents.schema import Schema, Violation, dotted, faults_by, shown

__all__ = [
    "Document",
    "Fault",
    "Path",
    "Place",
    "Schema",
    "Violation",
    "dotted",
    "faults_by",
    "read_document",
    "read_text",
    "shown",
]
