"""Merges the entries of several segments: one table of packs, no entry twice. Only maintenance needs this."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vmkeep.repository.frames import ID_SIZE
from vmkeep.repository.index.columns import U8, U64, Columns


def span_of(columns: Columns, start: int, stop: int) -> Columns:
    """Return the entries of a segment with prefixes from ``start`` up to, and not including, ``stop``."""
    low, high = (_row(columns.prefixes, bound) for bound in (start, stop))
    return columns.where(slice(low, high))


def merged(parts: Sequence[Columns]) -> Columns:
    """Return the entries of all parts, sorted by prefix. An entry that several parts list appears once."""
    ids = np.concatenate([part.pack_ids for part in parts])
    _, rows, inverse = np.unique(sortable(ids), return_index=True, return_inverse=True)
    starts = np.cumsum([0, *(len(part.kinds) for part in parts)])
    packs = np.concatenate(
        [inverse[start + part.packs.astype(np.int64)] for part, start in zip(parts, starts.tolist(), strict=False)]
    )
    prefixes = np.concatenate([part.prefixes for part in parts])
    order = np.argsort(prefixes, kind="stable")
    together = Columns(
        prefixes=prefixes[order],
        rests=np.concatenate([part.rests for part in parts])[order],
        packs=packs[order].astype(np.uint32),
        offsets=np.concatenate([part.offsets for part in parts])[order],
        lengths=np.concatenate([part.lengths for part in parts])[order],
        pack_ids=ids[rows],
        kinds=np.concatenate([part.kinds for part in parts])[rows],
    )
    twins = _twins(together)
    return together.where(~twins) if twins.any() else together


def in_packs(columns: Columns, there: npt.NDArray[np.bool_]) -> Columns:
    """Return the entries in those packs that a mask over the pack table chooses."""
    return columns if there.all() else columns.where(there[columns.packs])


def sortable(pack_ids: U8) -> npt.NDArray[np.bytes_]:
    """Return ids, uint8[p, 16], as values that sort as a whole. A single value taken out loses its trailing zeros."""
    return np.ascontiguousarray(pack_ids).view(f"S{ID_SIZE}").reshape(-1)


def _row(prefixes: U64, bound: int) -> int:
    return len(prefixes) if bound >= 1 << 64 else int(np.searchsorted(prefixes, np.uint64(bound)))


def _twins(columns: Columns) -> npt.NDArray[np.bool_]:
    """Return which of the sorted entries repeat another one: the same digest at the same place."""
    twins = np.zeros(len(columns.prefixes), np.bool_)
    alike = columns.prefixes[1:] == columns.prefixes[:-1]
    if alike.any():
        rows = np.flatnonzero(np.concatenate((alike, [False])) | np.concatenate(([False], alike)))
        rests = np.ascontiguousarray(columns.rests[rows]).view(np.uint64)
        place = columns.packs[rows].astype(np.uint64) << np.uint64(32) | columns.offsets[rows].astype(np.uint64)
        keys = np.column_stack((place, rests, columns.prefixes[rows]))
        order = np.lexsort(keys.T)
        same = (keys[order][1:] == keys[order][:-1]).all(axis=1)
        twins[rows[order[1:][same]]] = True
    return twins
