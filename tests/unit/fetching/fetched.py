"""Calls the writers as the flow of fetching does."""

from __future__ import annotations

from vmkeep.fetching import Fetch, Report, fetch
from vmkeep.model.fetched import FetchForm


def get(files, path, out, form=FetchForm.FOLDER, *, keep_going=False, stream=None, name="top"):
    report = Report(what="vm/p, disk0p1", keep_going=keep_going, on_bytes=lambda _done: None)
    order = Fetch(files=files, entry=files.entry(path), name=name, form=form, out=out)
    fetch(order, report, stream=stream or (lambda _data: None))
    return report
