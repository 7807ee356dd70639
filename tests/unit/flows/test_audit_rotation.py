"""Every block is audited within the promised number of runs, whatever other runs, failures and prunes lie between."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from vmkeep.flows.audit_rotation import last_audit
from vmkeep.model.audit import Audit, next_audit
from vmkeep.model.point import BackupKind

RUNS = (5, 3, 0)
"""Numbers of runs that together read a disk, as the runs of a site ask for in turn. 0 reads nothing."""
steps = st.lists(
    st.one_of(
        st.sampled_from([f"run {of}" for of in RUNS]),
        st.sampled_from(["fail 5", "full", "prune the newest"]),
    ),
    max_size=60,
)


def image(kind, audit):
    return SimpleNamespace(kind=kind, audit=audit)


def phase_of(history, of, number):
    plan = next_audit(last_audit(reversed(history), of=of), of=of, root=f"{number:08x}")
    return None if plan is None else plan.phase


@given(steps)
def test_the_runs_of_one_share_since_a_full_read_every_sample_before_any_sample_again(taken):
    history = [image(BackupKind.FULL, None)]
    for number, step in enumerate(taken):
        name, _, of = step.partition(" ")
        if name == "full":
            history = [*history, image(BackupKind.FULL, None)]
        elif step == "prune the newest" and history[-1].kind is not BackupKind.FULL:
            history = history[:-1]  # the next run continues the point before, and reads what the lost one has read
        elif name in {"run", "fail"}:
            phase = phase_of(history, int(of), number)
            audit = None if phase is None else Audit(phase=phase, of=int(of))
            if name == "run":
                history = [*history, image(BackupKind.INCREMENTAL, audit)]
        for runs in filter(None, RUNS):
            since = [one.audit.phase for one in since_full(history) if one.audit is not None and one.audit.of == runs]
            assert all(len(set(since[at : at + runs])) == len(since[at : at + runs]) for at in range(len(since)))


def since_full(history):
    last = max(at for at, one in enumerate(history) if one.kind is BackupKind.FULL)
    return history[last + 1 :]


def test_a_full_read_that_an_audit_caused_ends_its_rotation_in_peace():
    lied = image(BackupKind.FULL, Audit(phase=3, of=5, lies=1, first_lie=0))

    assert last_audit([lied], of=5) == lied.audit
    assert last_audit([lied, image(BackupKind.INCREMENTAL, Audit(phase=1, of=3))], of=3) is None
