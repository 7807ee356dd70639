"""Policy files: their fields, and the faults that are found in them."""

import json
import os
from datetime import date, timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml

from vmkeep.errors import NotFoundError
from vmkeep.model.guest import GuestCommands
from vmkeep.model.point import BackupMode
from vmkeep.model.proofs import ProofKind
from vmkeep.model.transport import TransportMode
from vmkeep.policy import (
    AtEnd,
    BootRules,
    MalwareScan,
    NotifyWhen,
    QuiesceWish,
    Verification,
    default_folder,
    read_file,
    read_folder,
    schema_text,
)

ROOT = Path(__file__).resolve().parents[3]

SOUND = """\
name: nightly
selection: name:web*
window:
  start: "22:00"
  end: "06:00"
  time_zone: Europe/Berlin
"""


@pytest.fixture
def policy_file(tmp_path):
    def write(text: str | bytes, name: str = "nightly.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def faults(policy_file):
    """Return the faults of a text: line, column and message of each."""

    def look(text: str | bytes, name: str = "nightly.yaml") -> list[tuple[int, int, str]]:
        read = read_file(policy_file(text, name))
        assert (read.policy is None) == bool(read.faults)
        return [(fault.place.line, fault.place.column, fault.message) for fault in read.faults]

    return look


def test_the_example_is_known_by_its_text_wherever_it_lies_and_is_none_once_a_site_has_edited_it(tmp_path):
    shipped = default_folder() / "example.yaml"
    assert read_file(shipped).is_example
    for text, is_example in ((shipped.read_text(), True), (shipped.read_text() + "# ours\n", False)):
        (tmp_path / "example.yaml").write_text(text)
        assert read_file(tmp_path / "example.yaml").is_example is is_example


def test_two_exports_to_one_place_are_refused_because_each_would_replace_the_other(faults):
    ((line, _, message),) = faults(SOUND + "exports:\n- out: /srv/a\n- out: /srv/b\n- {out: /srv/a/, format: raw}\n")

    assert line == 10
    assert message.startswith("exports[3].out: '/srv/a/' gets another export of this policy")


@pytest.mark.parametrize(
    ("checks", "least"),
    [
        ("boot: {turn: 7d}, proved_within: 7d", "verification.boot.turn 8d"),
        ("boot: {turn: 7d}, proved_within: 8d", None),
        ("boot: {turn: 6h}, proved_within: 8h", "verification.boot.turn 9h"),
        ("digests: 30d, boot: {turn: 7d}, proved_within: 10d, proved_by: digests", "verification.digests 31d"),
        ("file_systems: always, boot: {turn: 30d}, proved_within: 7d, proved_by: file-systems", None),
        ("boot: {turn: never}, proved_within: 1d", None),
        ("boot: {turn: 7d}, proved_within: 1d, proved_by: restore", None),
    ],
)
def test_an_age_of_proofs_that_each_turn_would_miss_is_refused(faults, checks, least):
    found = faults(SOUND + f"verification: {{{checks}}}\n")

    assert [message.partition("proved_within: each turn of ")[2] for _, _, message in found] == (
        [f"{least.split()[0]} would be an alarm before its check has ended: write at least {least.split()[1]}"]
        if least
        else []
    )


def test_what_a_file_leaves_out_has_a_safe_default(policy_file):
    policy = read_file(policy_file(SOUND)).policy
    assert policy is not None
    assert policy.retention is None  # everything stays
    assert (policy.disks.include, policy.disks.exclude, policy.exclusions) == ((), (), ())
    assert (policy.mode, policy.quiesce) == (BackupMode.SNAPSHOT_EXCL_MEM, QuiesceWish.PREFERRED)
    assert policy.transports == (TransportMode.NBDSSL, TransportMode.NBD)
    assert (policy.at_end, policy.catch_up) == (AtEnd.FINISH, True)
    assert (policy.repository, policy.vsphere) == ("vmkeep_default", "vsphere_default")
    assert policy.notifications.when is NotifyWhen.PROBLEMS
    assert len(policy.window.days) == 7


EVERYTHING = """\
name: nightly
selection: name:web*
window:
  start: 22:00
  end: 24:00
  time_zone: UTC
  days: [sat, sun]
  blackout: [2026-12-24 to 2026-12-26, 2027-01-01]
  at_end: stop
  catch_up: false
description: Everything.
owner: storage team
vsphere: vc2
exclusions: [name:web-test*, tag:backup/never]
priority: -7
max_age: 36h
mode: SUSPEND
quiesce: off
transports: [hotadd, nbdssl]
disks:
  include: [{unit: "scsi0:1", label: Hard disk 2}]
  exclude: [{larger_than: 1.5 TiB, smaller_than: 3TiB}, {datastore: scratch-*}]
  read_luns: [{label: "Hard disk *", larger_than: 1 TiB}]
  skipped_is_failure: true
repository: {connection: s3, copies: [offsite]}
retention: {last: 3, daily: 14, within: 36h}
verification:
  {sample: 1, audit: 0.5, file_systems: always, digests: 30d, boot: {turn: 7d, seconds: 90, wait_for: [login, Ready]},
  file_index: true, malware: changed, proved_within: 2w, proved_by: restore}
guest: {connection: guest_linux, pre_freeze: /opt/db/freeze now, post_thaw: /opt/db/thaw, freeze_failure: warn}
limits: {backups_at_once: 3}
notifications: {when: always, to: [me@example.com]}
"""


def test_every_field_reaches_the_policy(policy_file):
    policy = read_file(policy_file(EVERYTHING)).policy
    assert policy is not None
    assert {blackout.first: blackout.last for blackout in policy.window.blackouts} == {
        date(2026, 12, 24): date(2026, 12, 26),
        date(2027, 1, 1): date(2027, 1, 1),
    }
    assert (policy.window.start.hour, policy.window.end.hour, sorted(policy.window.days)) == (22, 0, ["sat", "sun"])
    assert (policy.at_end, policy.catch_up, policy.mode, policy.quiesce) == ("stop", False, "SUSPEND", "off")
    assert (policy.owner, policy.vsphere, policy.repository, policy.copies) == (
        *("storage team", "vc2", "s3"),
        ("offsite",),
    )
    assert [str(exclusion) for exclusion in policy.exclusions] == ["name:web-test*", "tag:backup/never"]
    assert policy.transports == ("hotadd", "nbdssl")
    assert [(one.unit, one.label) for one in policy.disks.include] == [("scsi0:1", "Hard disk 2")]
    assert [(one.larger_than, one.smaller_than, one.datastore) for one in policy.disks.exclude] == [
        (3 << 39, 3 << 40, None),
        (None, None, "scratch-*"),
    ]
    assert [(one.label, one.larger_than) for one in policy.disks.read_luns] == [("Hard disk *", 1 << 40)]
    assert policy.disks.skipped_is_failure
    assert str(policy.retention) == "last 3, daily 14, within 36h"
    assert policy.retention is not None
    assert policy.retention.keep_within == timedelta(hours=36)
    assert policy.priority == -7
    assert policy.guest == GuestCommands(
        freeze="/opt/db/freeze now", thaw="/opt/db/thaw", login="guest_linux", seconds=60, required=False
    )
    assert (policy.audit, policy.max_age) == (0.5, timedelta(hours=36))
    assert (policy.sample, policy.backups_at_once) == (1.0, 3)
    assert policy.verification == Verification(
        file_systems=timedelta(0),
        digests=timedelta(days=30),
        boot=BootRules(turn=timedelta(days=7), seconds=90, wait_for=("login", "Ready")),
        file_index=True,
        malware=MalwareScan.CHANGED,
        proved_within=timedelta(weeks=2),
        proved_by=ProofKind.RESTORE,
    )
    assert (policy.notifications.when, policy.notifications.to) == ("always", ("me@example.com",))


def test_every_fault_of_a_file_is_told_with_its_line_and_column(faults):
    found = faults(
        """\
name: nightly
selektion: name:x
window:
  start: 25:00
  end: 06:00
  time_zone: Europe/Berln
  blackout: [2026-02-30, 2026-12-24 to 2026-12-01]
mode: snapshot_excl_mem
disks:
  exclude:
    - {larger_then: 2TiB}
    - larger_than: 2TB
limits: {backups_at_once: 2.5}
"""
    )
    assert [(line, column) for line, column, _ in found] == [
        *((1, 1), (2, 1), (4, 10), (6, 14), (7, 14), (7, 26)),
        *((8, 7), (11, 8), (12, 20), (13, 27)),
    ]
    said = [message for *_, message in found]
    for message, expected in zip(
        said,
        (
            "selection is missing",
            "did you mean 'selection'?",
            'write it as in "22:00"',
            "did you mean 'Europe/Berlin'?",
            "there is no day 2026-02-30",
            "ends before it begins",
            "did you mean 'SNAPSHOT_EXCL_MEM'?",
            "did you mean 'larger_than'?",
            'write it as in "2TiB"',
            "2.5 is not a whole number",
        ),
        strict=True,
    ):
        assert expected in message


@pytest.mark.parametrize(
    ("line", "where", "expected"),
    [
        ("owner: &me team", (7, 8), "anchor"),
        ("owner: *me", (7, 8), "alias"),
        ("owner: !!str team", (7, 8), "tag"),
        ("owner: [team", (8, 1), "not YAML"),
        ("\towner: team", (7, 1), "not YAML"),
        ("owner: @team", (7, 8), "quote a text that has a colon or a special character"),
        ("name: nightly", (7, 1), "stands twice, first in line 1"),
        ("--- \nname: other", (7, 1), "a second document"),
        ("<<: {owner: team}", (7, 1), "no field '<<'"),
        ("? [a, b]\n: c", (7, 3), "a key has to be a word"),
        ('owner: "a\\nb"', (7, 8), "is no owner"),
        ('owner: "a\\eb"', (7, 8), "a character that nobody could read"),
        ("owner: a\x01b", (7, 9), "U+0001"),
        ("owner: " + "[" * 5000, (7, 20), "values in one another"),
        ("description: " + "x" * 501, (7, 14), "longer than 500 characters"),
        ("guest: {connection: a, pre_freeze: b}", (7, 1), "guest.post_thaw is missing"),
        ("guest: {post_thaw: a}", (7, 1), "guest.connection is missing"),
        ('guest: {connection: a, post_thaw: "a\\nb"}', (7, 35), "is no command of one line"),
        ('guest: {connection: a, post_thaw: " "}', (7, 35), "is no command of one line"),
        ("guest: {connection: a, post_thaw: b, seconds: 9999}", (7, 47), "more than 3600"),
        ("verification: {audit: 2}", (7, 23), "more than 1"),
        ("verification: {digests: daily}", (7, 25), 'is no turn; write it as in "7d"'),
        ("verification: {boot: {turn: 30}}", (7, 29), "is not a text"),
        ("owner:", (7, 7), "nothing is not a text"),
        ("12: 13", (7, 1), "no field '12'"),
        (f"exclusions: [{'name:x,' * 201}]", (7, 13), "longer than 200 items"),
        ("exclusions:\n  - none:", (8, 5), 'put it into quotes, "none:"'),
        ("exclusions: {a: b}", (7, 13), "a group of fields is not a list"),
        ("disks: {}\ndisks: {exclude: [*x]}", (8, 19), "alias"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_what_yaml_would_take_for_something_else_is_a_fault_with_its_place(faults, line, where, expected):
    found = faults(f"{SOUND}{line}\n")
    assert any((row, column) == where and expected in message for row, column, message in found), found


@pytest.mark.parametrize(
    "word", ["no", "on", "off", "yes", "22:00", "1_000", "0x1f", "007", "1e3", "2026-12-24", "=", "<<"]
)
def test_words_that_yaml_takes_for_something_else_stay_texts(policy_file, word):
    policy = read_file(policy_file(f"{SOUND}owner: {word}\n")).policy
    assert policy is not None
    assert policy.owner == word


def test_a_fault_inside_a_selector_is_pointed_at_in_the_file(faults):
    found = faults(
        """\
name: nightly
selection: >-
  name:web* and
  (tag:backup or any:)
exclusions: ['name~:"("', web]
window: {start: 22:00, end: 06:00, time_zone: UTC}
"""
    )
    assert [place for *place, _ in found] == [[4, 8], [5, 21], [5, 27]]
    assert "expected category/name" in found[0][2]


def test_aliases_cannot_make_a_large_value_of_a_short_file(faults):
    levels = "\n".join(f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * 9)}]" for level in range(1, 40))
    assert any("alias" in message for *_, message in faults(f"{SOUND}x0: &x0 lol\n{levels}\n"))


def test_a_policy_has_the_name_of_its_file(faults):
    ((line, column, message),) = faults(SOUND, "weekly.yaml")
    assert (line, column) == (1, 7)
    assert "write name: weekly" in message


@pytest.mark.parametrize("field", ["label", "datastore"])
@pytest.mark.parametrize("name", ["' '", '" Data"', '"Data "', "Data & >2TiB", '"a & unit:scsi0:1"'])
def test_a_name_of_disks_that_would_mean_others_on_its_way_to_the_backup_is_refused(faults, field, name):
    ((line, _, message),) = faults(f"{SOUND}disks:\n  exclude:\n    - {{{field}: {name}}}\n")
    assert (line, f"disks.exclude[1].{field}" in message) == (9, True)


@pytest.mark.parametrize("name", ["Hard disk 2", "R&D", "a & b", "[ssd] x*", "label:x", ">2TiB"])
def test_any_other_name_of_disks_is_taken(policy_file, name):
    policy = read_file(policy_file(f'{SOUND}disks: {{exclude: [{{label: "{name}"}}]}}\n')).policy
    assert policy is not None
    assert policy.disks.exclude[0].label == name


@pytest.mark.parametrize("name", ["Nightly", "-x", "a b", "a/b", "../x", "", "x" * 61, "é", "nightly\\n"])
def test_a_name_that_could_not_be_part_of_a_dags_id_is_refused(faults, name):
    assert faults(SOUND.replace("nightly", f'"{name}"'))


@pytest.mark.parametrize(
    "zone", ["localtime", "posix/Europe/Berlin", "right/UTC", "Factory", "../etc", "Mars/Base", "/etc"]
)
def test_only_a_time_zone_that_means_the_same_everywhere_is_taken(faults, zone):
    ((line, column, message),) = faults(SOUND.replace("Europe/Berlin", zone))
    assert (line, column) == (6, 14)
    assert zone in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "a policy has fields"),
        (b"# nothing yet\n", "a policy has fields"),
        (b"- a\n", "a policy has fields"),
        (b"name", "a policy has fields"),
        (b"\xff\xfe", "no text in UTF-8"),
        (b"a: 1\n" * 100_000, "longer than 64 KiB"),
    ],
)
def test_a_file_that_is_no_policy_at_all_is_one_fault(faults, content, expected):
    ((_, _, message),) = faults(content)
    assert expected in message


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(policy_file, faults):
    assert read_file(policy_file(b"\xef\xbb\xbf" + SOUND.replace("\n", "\r\n").encode())).policy is not None
    assert faults(SOUND.replace("22:00", "2200").replace("\n", "\r\n"))[0][:2] == (4, 10)


def test_files_that_cannot_be_read_are_faults_and_nothing_waits_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "other.yml").write_text(SOUND)
    (tmp_path / ".hidden.yaml").write_text("[")
    (tmp_path / "README.md").write_text("no policy")
    found = {read.path.name: [fault.message for fault in read.faults] for read in read_folder(tmp_path)}
    assert found == {
        "folder.yaml": ["the file cannot be read: Is a directory"],
        "gone.yaml": ["the file cannot be read: No such file or directory"],
        "other.yml": ["the name of a policy file ends with .yaml: rename it"],
        "pipe.yaml": ["this is no file"],
    }


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(NotFoundError, match="nowhere"):
        read_folder(tmp_path / "nowhere")


def test_the_policies_that_come_with_vmkeep_are_sound():
    found = read_folder(default_folder())
    assert found
    assert [line for read in found for line in read.lines] == []


def test_the_published_schema_is_one_and_every_field_in_it_is_described():
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)

    def undescribed(part, name=""):
        for key, field in part.get("properties", {}).items():
            if not field.get("description", "").endswith("."):
                yield f"{name}.{key}"
            yield from undescribed(field, f"{name}.{key}")

    assert list(undescribed(schema)) + list(undescribed(schema["$defs"]["disks"])) == []


def test_an_editor_that_knows_only_the_schema_takes_what_we_take():
    schema = json.loads(schema_text())
    for text in (SOUND, EVERYTHING.replace("22:00", '"22:00"').replace("quiesce: off", 'quiesce: "off"')):
        data = json.loads(json.dumps(yaml.safe_load(text), default=str))
        data["window"] |= {"blackout": ["2026-12-24"], "end": "24:00"}
        jsonschema.validate(data, schema)


@pytest.mark.parametrize(
    ("window", "told"),
    [
        ('begin: "22:00", end: "06:00"', "did you mean 'start'?"),  # and not 'end', which the file has
        ('start: "22:00", ending: "06:00"', "did you mean 'end'?"),
        ('start: "22:00", end: "06:00", strat: "22:00"', "there are start, end, time_zone"),
    ],
)
def test_a_wrong_name_of_a_field_is_never_taken_for_one_that_the_file_has(faults, window, told):
    said = [
        message for *_, message in faults(f"name: nightly\nselection: 'any:'\nwindow: {{{window}, time_zone: UTC}}\n")
    ]
    assert [message for message in said if "there is no field" in message and told in message]


def test_the_messages_in_the_manual_are_those_that_a_file_gets(faults):
    manual = (ROOT / "docs" / "policies.md").read_text().partition("## Faults")[2]
    shown = {line.split(": ", 1)[1] for line in manual.splitlines() if line.startswith("nightly.yaml:")}
    window = 'window: {begin: "22:00", end: "06:00", time_zone: UTC}'
    said = faults(f"name: nightly\nselection: tag:gold\n{window}\nquiesce: maybe\n")
    assert shown
    assert shown <= {message for *_, message in said}


@pytest.mark.parametrize("name", ["nightly.yaml", "nightly", "nightly.yml"])
def test_a_file_that_is_not_there_is_not_to_be_renamed(tmp_path, name):
    (fault,) = read_file(tmp_path / name).faults
    assert fault.message == "the file cannot be read: No such file or directory"
