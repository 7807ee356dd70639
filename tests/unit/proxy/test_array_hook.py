"""The array hook of a proxy: a program or an entry point, with facts on stdin, a time limit, and output in the log."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from vmkeep.errors import ArrayHookError, UsageError
from vmkeep.model.arrayhook import HookAnswer, HookDisk, HookEvent, HookFacts, HookStore
from vmkeep.model.point import VmIdentity
from vmkeep.model.site import parse_hook_seconds
from vmkeep.proxy import arrayhook, require_hook, run_hook

LUN, OTHER, IMAGE = "naa.600a", "naa.600c", "naa.600b"
FACTS = HookFacts(
    event=HookEvent.BEFORE,
    run="run-1",
    vm=VmIdentity(name="web", key="k", moref="vm-1"),
    snapshot="snapshot-1",
    datastores=(HookStore(name="fast", kind="VMFS", luns=(LUN, OTHER)),),
    disks=(
        HookDisk(
            key=2000, label="Hard disk 1", address="scsi0:0", file="[fast] web/web.vmdk", capacity=512, copied=True
        ),
    ),
)

PACKAGE = """
import os, sys
from vmkeep.model.arrayhook import HookAnswer

class Hook:
    def before(self, facts):
        print("snapshot of", *sorted(facts.luns))
        return HookAnswer(luns={"naa.600a": "naa.600b"})

    def after(self, facts):
        raise RuntimeError("the array is out of reach")

HOOK = Hook()
"""


@pytest.fixture
def script(tmp_path):
    """Write a shell script that is a hook."""

    def write(body: str) -> str:
        path = tmp_path / "hook"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    return write


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install a package that brings the hook ``array1``."""
    info = tmp_path / "arrays-1.dist-info"
    info.mkdir()
    (tmp_path / "arrays.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Name: arrays\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[vmkeep.array_hooks]\narray1 = arrays:HOOK\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)


def run(hook: str, *, seconds: float = 60, event: HookEvent = HookEvent.BEFORE):
    return run_hook(hook, replace(FACTS, event=event), seconds=seconds)


def test_a_program_gets_the_facts_as_json_and_its_arguments_as_they_were_set(script, tmp_path):
    hook = script(f'cat > {tmp_path}/facts; echo "$1" > {tmp_path}/argument')

    assert run(f"{hook} 'volume group 1'").luns == {}

    told = json.loads((tmp_path / "facts").read_text())
    assert (told["version"], told["event"], told["run"], told["snapshot"]) == (1, "before", "run-1", "snapshot-1")
    assert (told["vm"]["name"], told["datastores"][0]["luns"]) == ("web", [LUN, OTHER])
    assert told["disks"][0]["address"] == "scsi0:0"
    assert (tmp_path / "argument").read_text() == "volume group 1\n"


def test_no_shell_reads_the_command(script, tmp_path):
    run(f"{script('true')} ; touch {tmp_path}/by-a-shell")

    assert not (tmp_path / "by-a-shell").exists()


def test_its_output_and_its_errors_are_in_the_log(script, caplog):
    caplog.set_level(logging.INFO)

    run(script("echo made; printf 'odd \\001 end' >&2"))

    said = [message.rpartition("web: ")[2] for message in caplog.messages]
    assert said == ["made", "odd ? end"]


def test_output_without_end_is_cut(script, caplog):
    caplog.set_level(logging.INFO)

    run(script("yes $(printf %0199d 1) | head -c 200000"))

    assert caplog.messages[-1].endswith("the rest of its output is left out")
    assert len(caplog.messages) < 400


def test_a_hook_sees_no_secret_of_the_worker(script, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "key")
    monkeypatch.setenv("VMKEEP_PASSPHRASE", "secret")

    run(script(f"env > {tmp_path}/env"))

    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert "VMKEEP_ANSWER" in names
    assert not {name for name in names if name.startswith(("AIRFLOW", "VMKEEP_P"))}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("exit 3", "ended with exit code 3; it printed nothing"),
        ("kill -9 $$", "ended with signal 9; it printed nothing"),
        (
            "echo begun; echo 'no login' >&2; echo; exit 4",
            "ended with exit code 4; the last line of its output: no login",
        ),
        ("printf 'no end'; exit 4", "the last line of its output: no end"),
    ],
)
def test_a_hook_that_fails_is_an_error_with_its_status(script, body, told):
    with pytest.raises(ArrayHookError, match=told):
        run(script(body))


def test_a_hook_that_takes_too_long_is_ended_with_all_that_it_started(script, tmp_path, monkeypatch):
    monkeypatch.setattr(arrayhook, "_GRACE", 0.1)
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    with pytest.raises(ArrayHookError, match=r"did not end within 0\.5 s"):
        run(script(f"trap '' TERM; exec 3> {pipe}; sleep 600 & sleep 600"), seconds=0.5)

    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # the end of the pipe: no process holds it any more
    os.close(reader)


def test_a_program_that_it_leaves_behind_is_not_waited_for(script, tmp_path):
    hook = script(f"sleep 600 & echo $! > {tmp_path}/pid")
    try:
        run(hook, seconds=120)
    finally:
        os.kill(int((tmp_path / "pid").read_text()), 9)


@pytest.mark.parametrize("luns", [{LUN: LUN}, {LUN: LUN.upper()}, {LUN: OTHER}, {LUN: IMAGE, OTHER: IMAGE}])
def test_no_living_lun_of_the_vm_and_no_lun_for_two_counts_as_the_arrays_snapshot(script, luns):
    with pytest.raises(ArrayHookError, match=r"its answer gives .* as the snapshot of"):
        run(script(f"echo '{json.dumps({'luns': luns})}' > \"$VMKEEP_ANSWER\""))


def test_an_answer_names_the_luns_that_hold_the_arrays_snapshot(script):
    answer = json.dumps({"luns": {LUN: IMAGE}})

    assert run(script(f"echo '{answer}' > \"$VMKEEP_ANSWER\"")).luns == {LUN: IMAGE}


@pytest.mark.parametrize("answer", ["{", "[]", '{"luns": {"naa.600a": 7}}', '{"luns": {"naa.5000": "naa.600b"}}'])
def test_a_wrong_answer_is_an_error(script, answer):
    with pytest.raises(ArrayHookError, match="its answer"):
        run(script(f"echo '{answer}' > \"$VMKEEP_ANSWER\""))


def test_an_entry_point_runs_in_a_process_of_its_own(package, caplog):
    caplog.set_level(logging.INFO)

    assert run("array1").luns == {LUN: IMAGE}
    assert any(message.endswith("snapshot of naa.600a naa.600c") for message in caplog.messages)
    with pytest.raises(ArrayHookError, match="exit code 1"):
        run("array1", event=HookEvent.AFTER)
    assert any("the array is out of reach" in message for message in caplog.messages)
    assert "arrays" not in sys.modules


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        ("hook", "no array hook is called 'hook'"),
        ("./hook", "full path"),
        ("/no/such/hook", "No such file"),
        ("/etc", "no program"),
        ("/bin/sh 'open", "no command"),
    ],
)
def test_a_hook_that_cannot_be_run_is_refused(hook, told):
    with pytest.raises(UsageError, match=told):
        require_hook(hook)


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o644])
def test_a_program_that_others_can_change_or_nobody_can_run_is_refused(script, mode):
    hook = script("true")
    Path(hook).chmod(mode)

    with pytest.raises(UsageError, match="hook"):
        require_hook(hook)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon", "7200"])
def test_a_time_limit_without_sense_is_refused(text):
    with pytest.raises(UsageError, match="time limit"):
        parse_hook_seconds(text)


@pytest.mark.parametrize("make", ["mkfifo", "mkdir", "ln -s /dev/zero"])
def test_an_answer_that_is_no_file_is_an_error_at_once(script, make):
    with pytest.raises(ArrayHookError, match=r"its answer in \$VMKEEP_ANSWER cannot be read"):
        run_hook(script(f'{make} "$VMKEEP_ANSWER"'), FACTS, seconds=30)


def test_a_program_that_a_hook_leaves_behind_and_that_prints_without_end_holds_up_nobody(script, tmp_path):
    left = f"(echo $BASHPID > {tmp_path}/left; exec yes $(printf %05000d 0)) & sleep 0.2; echo done"
    hook = script(f"exec bash -c '{left}'")
    try:
        assert run_hook(hook, FACTS, seconds=30) == HookAnswer()
    finally:
        with suppress(ProcessLookupError):
            os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)
