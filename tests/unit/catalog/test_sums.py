"""Sums of a VM's points are what its points tell, whoever wrote them, and are read without reading points."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, insert, select, update
from sqlalchemy.orm import Session

from tests.unit.catalog.test_catalog import START, Manifests, point
from vmkeep.catalog import Catalog, NotedMark, NotedProof, open_catalog
from vmkeep.catalog import summaries as reader
from vmkeep.catalog.engine import open_engine
from vmkeep.catalog.entered import forget_all
from vmkeep.catalog.schema import Base, DiskRow, PointRow, SummedRepositoryRow, SummedVmRow

NOW = START + timedelta(hours=50)
"""Points 51 and later are of the future."""
VMS = ("app01", "web01", "db01")
points = st.builds(point, st.integers(40, 55), st.sampled_from(VMS))
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("record", "refresh", "old program enters")), points),
        st.tuples(st.sampled_from(("prune", "old program prunes", "rebuild", "damaged", "check failed")), points),
    ),
    max_size=12,
)


def summaries(engine, *, grouped=False):
    """Return what a page is told, by the VM's key.

    :param grouped: as without sums.
    """
    with Session(engine) as session:
        if grouped:
            session.execute(update(SummedRepositoryRow).values(whole=False))
            session.commit()
        told = {each.vm_key: each for each in Catalog(engine).overview().summaries(NOW)}
        if grouped:
            session.execute(update(SummedRepositoryRow).values(whole=True))
            session.commit()
        return told


def forget_as_an_old_program(engine, ref):
    with Session(engine) as session:
        forget_all(session, "repo", [ref])
        session.commit()


def enter_as_an_old_program(engine, made):
    """Enter a point without a thought of sums."""
    with open_engine("sqlite://") as other:
        Catalog(other).record("repo", made)
        with Session(engine) as session, other.connect() as source:
            number = (session.scalar(select(func.max(PointRow.number))) or 0) + 1
            for table, name in ((PointRow, "number"), (DiskRow, "point")):
                for row in source.execute(table.__table__.select()).mappings():
                    session.execute(insert(table).values(**dict(row) | {name: number}))
            session.commit()


def take(engine, held, marks, proofs, step, made):
    """Do one step of some history of a repository and its catalog."""
    catalog = Catalog(engine)
    if step in ("record", "old program enters") and made.ref not in held.held:
        held.held[made.ref] = made
        catalog.record("repo", made) if step == "record" else enter_as_an_old_program(engine, made)
    elif step in ("prune", "old program prunes") and held.held.pop(made.ref, None):
        forget_as_an_old_program(engine, made.ref) if step == "old program prunes" else catalog.refresh(held)
    elif step == "refresh":
        held.held[made.ref] = made
        catalog.refresh(held)
    elif step == "rebuild":
        catalog.rebuild(held)
    elif step == "damaged":
        marks[made.ref] = NotedMark(ref=made.ref, kind="damaged", reason="lost pack")
    elif step == "check failed":
        proofs[made.ref] = NotedProof(ref=made.ref, kind="boot", result="failed", at=1)
    catalog.overview().note(
        "repo", location="/srv", at=NOW, marks=marks.values(), proofs=proofs.values(), vms=()
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(steps, st.booleans(), st.integers(1, 4))
def test_sums_tell_what_the_points_tell_whoever_wrote_them(history, by_time, last):
    """:param by_time: as in PostgreSQL, which tells the last points of all VMs; ``last`` of them for each VM."""
    with open_engine("sqlite://") as engine, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "INDEXES_TIMES", "sqlite" if by_time else "postgresql")
        patch.setattr(reader, "_LAST", last)
        held, marks, proofs = Manifests(), {}, {}
        Catalog(engine).refresh(held)
        by_us_alone = True
        for step, made in history:
            take(engine, held, marks, proofs, step, made)
            by_us_alone &= not step.startswith("old program")
        told, true = summaries(engine), summaries(engine, grouped=True)
        if by_us_alone:
            assert told == true
        for vm_key, each in told.items():
            assert each.newest == true[vm_key].newest, "an older program makes no VM safe whose point is gone"
        Catalog(engine).refresh(held)
        assert summaries(engine) == summaries(engine, grouped=True)
        assert {each.points for each in summaries(engine).values()} <= set(range(1, 17))


def work_of_a_page(per_vm: int, *, is_newest_bad: bool) -> int:
    """Return the steps of SQLite's machine that it takes to sum up VMs with so many points each."""
    with open_engine("sqlite://") as engine:
        made = (replace(point(number, f"vm{vm}"), taken_at=START + timedelta(minutes=number))
                for vm in range(5) for number in range(per_vm))  # fmt: skip
        Catalog(engine).refresh(Manifests(*made))
        overview, done = Catalog(engine).overview(), 0
        if is_newest_bad:
            refs = [each.told_by for each in overview.summaries(NOW)]
            marks = [NotedMark(ref=ref, kind="damaged", reason="lost pack") for ref in refs]
            overview.note("repo", location="/srv", at=NOW, marks=marks, proofs=(), vms=())

        def step() -> int:
            nonlocal done
            done += 1
            return 0

        event.listen(engine, "checkout", lambda connection, *_: connection.set_progress_handler(step, 1))
        told = overview.summaries(NOW)
        assert {(each.points, each.bad) for each in told} == {(per_vm, int(is_newest_bad))}
        assert all(each.newest == START + timedelta(minutes=per_vm - 1 - is_newest_bad) for each in told)
        return done


@pytest.mark.parametrize("is_newest_bad", [False, True], ids=["good", "newest-is-damaged"])
def test_a_page_of_many_points_costs_no_more_than_one_of_few(is_newest_bad):
    few, many = (work_of_a_page(per_vm, is_newest_bad=is_newest_bad) for per_vm in (4, 64))

    assert 0 < many <= few * 1.1


def test_a_catalog_of_an_older_program_is_read_and_summed_by_the_next_refresh(tmp_path):
    url = f"sqlite:///{tmp_path}/catalog.db"
    held = Manifests(point(1), point(2), point(3, "web01"))
    with open_catalog(url) as catalog:
        catalog.refresh(held)
    with open_engine(url) as engine:
        Base.metadata.drop_all(engine, tables=[SummedVmRow.__table__, SummedRepositoryRow.__table__])
    with open_engine(url) as engine:
        before = summaries(engine)
        Catalog(engine).refresh(held)
        with Session(engine) as session:
            assert {row.vm_key: row.points for row in session.query(SummedVmRow)} == {"key-app01": 2, "key-web01": 1}
        assert summaries(engine) == before
        assert before["key-app01"].points == 2


@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "newer"])
def test_the_newest_point_is_never_taken_from_sums(tmp_path, is_gone):
    with open_engine(f"sqlite:///{tmp_path}/catalog.db") as engine:
        Catalog(engine).refresh(Manifests(point(1), point(2)))
        forget_as_an_old_program(engine, point(2).ref) if is_gone else enter_as_an_old_program(engine, point(3))

        (told,) = summaries(engine).values()

        assert (told.ref, told.points) == ((point(1).ref, 1) if is_gone else (point(3).ref, 3))


@pytest.mark.parametrize("by_time", ["sqlite", "postgresql"], ids=["last-points", "each-vm"])
def test_a_vm_that_was_not_backed_up_for_long_keeps_its_age_beside_busy_ones(tmp_path, monkeypatch, by_time):
    monkeypatch.setattr(reader, "INDEXES_TIMES", by_time)
    with open_engine(f"sqlite:///{tmp_path}/catalog.db") as engine:
        idle = [point(1, "web01"), point(2, "web01"), point(2, "db01")]
        held = Manifests(*idle, *(point(number) for number in range(20, 45)))
        Catalog(engine).refresh(held)

        assert summaries(engine) == summaries(engine, grouped=True)
        forget_as_an_old_program(engine, idle[1].ref)
        forget_as_an_old_program(engine, point(44).ref)

        told = summaries(engine)
        assert {key: each.ref for key, each in told.items()} == {
            "key-web01": idle[0].ref, "key-db01": idle[2].ref, "key-app01": point(43).ref
        }  # fmt: skip
