import shutil
import subprocess

import pytest

from vmkeep.errors import UsageError
from vmkeep.vddk.folder import find_library
from vmkeep.vddk.initialised import open_vddk


def test_a_missing_folder_is_named_with_the_remedy(tmp_path):
    with pytest.raises(UsageError, match=r"no VDDK at .*/nowhere: there is no such folder; unpack"):
        find_library(tmp_path / "nowhere")


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not a folder"):
        find_library(tmp_path / "file")


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(UsageError, match=r"holds no lib64/libvixDiskLib"):
        find_library(tmp_path)


def test_the_lib64_folder_itself_is_taken_for_its_distribution(nineteen):
    file = find_library(nineteen / "lib64")
    assert (file.folder, file.library_path) == (nineteen, str(nineteen / "lib64"))


@pytest.mark.parametrize("folder", ["lib64", "."])
@pytest.mark.parametrize(
    ("name", "major", "version"),
    [
        ("libvixDiskLib.so.8.0.3", 8, "8.0.3"),
        ("libvixDiskLib.so.9", 9, "9"),
        ("libvixDiskLib.so.10.1", 10, "10.1"),
        ("libvixDiskLib.so", 6, "unknown"),
    ],
)
def test_a_drop_in_of_any_version_is_taken(nineteen, tmp_path, folder, name, major, version):
    """OpenVDDK's file has a complete version and no link; VDDK 9's is ``.so.9``; both work with the binding."""
    place = tmp_path / "opt" / folder
    place.mkdir(parents=True)
    shutil.copyfile(nineteen / "lib64/libvixDiskLib.so.6.5.0", place / name)
    (place / "libvixDiskLib.so.old").write_text("not one")
    file = find_library(tmp_path / "opt")
    assert (file.major, file.version, file.library_path) == (major, version, str(place.resolve()))
    with open_vddk(tmp_path / "opt") as vddk:
        assert vddk.file == file


def test_the_link_says_which_release_of_a_version_counts(nineteen, tmp_path):
    (tmp_path / "lib64").mkdir()
    for name in ("libvixDiskLib.so.8.0.1", "libvixDiskLib.so.8.0.3"):
        shutil.copyfile(nineteen / "lib64/libvixDiskLib.so.6.5.0", tmp_path / "lib64" / name)
    assert find_library(tmp_path).version == "8.0.3"
    (tmp_path / "lib64/libvixDiskLib.so.8").symlink_to("libvixDiskLib.so.8.0.1")
    assert find_library(tmp_path).version == "8.0.1"


def test_a_library_that_is_too_old_is_none(tmp_path):
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64/libvixDiskLib.so.5").write_text("")
    with pytest.raises(UsageError, match="version 6 or newer"):
        find_library(tmp_path)


def test_the_version_comes_from_the_real_file(nineteen):
    file = find_library(nineteen)
    assert (file.major, file.version) == (6, "6.5.0")


def test_the_newest_major_wins(nineteen, tmp_path):
    shutil.copytree(nineteen, tmp_path / "v", symlinks=True)
    (tmp_path / "v/lib64/libvixDiskLib.so.8").symlink_to("libvixDiskLib.so.6.5.0")
    assert find_library(tmp_path / "v").major == 8


def make(tmp_path, content):
    (tmp_path / "lib64").mkdir()
    path = tmp_path / "lib64/libvixDiskLib.so.8"
    path.write_bytes(content)
    return path


def test_a_text_file_is_not_a_library(tmp_path):
    make(tmp_path, b"not a library at all, but long enough")
    with pytest.raises(UsageError, match="is not a shared library"):
        find_library(tmp_path)


def test_another_processor_is_named(tmp_path, nineteen):
    content = bytearray((nineteen / "lib64/libvixDiskLib.so.6").read_bytes())
    content[18:20] = (8).to_bytes(2, "little")  # MIPS
    make(tmp_path, bytes(content))
    with pytest.raises(UsageError, match="built for another processor"):
        find_library(tmp_path)


def test_a_library_that_does_not_load_says_why(tmp_path, nineteen):
    make(tmp_path, (nineteen / "lib64/libvixDiskLib.so.6").read_bytes()[:40])
    with pytest.raises(UsageError, match=r"cannot load .*unpack VDDK again"), open_vddk(tmp_path):
        pass


def compile_library(path, source, *flags):
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", path, "-", *flags], input=source.encode(), check=True)


def test_a_missing_dependency_is_named_with_the_library_path(tmp_path):
    (tmp_path / "lib64").mkdir()
    compile_library(tmp_path / "libneeded.so", "int needed(void) { return 1; }")
    flags = ("-Wl,--no-as-needed", "-x", "none", str(tmp_path / "libneeded.so"), "-Wl,-soname,x")
    compile_library(tmp_path / "lib64/libvixDiskLib.so.8", "int needed(void); int f(void) { return needed(); }", *flags)
    (tmp_path / "libneeded.so").unlink()
    expected = rf"libneeded.so: cannot open .*LD_LIBRARY_PATH must begin with {tmp_path}/lib64"
    with pytest.raises(UsageError, match=expected), open_vddk(tmp_path):
        pass


def test_a_library_without_the_functions_is_not_vddk(tmp_path):
    (tmp_path / "lib64").mkdir()
    compile_library(tmp_path / "lib64/libvixDiskLib.so.8", "int f(void) { return 0; }")
    with pytest.raises(UsageError, match=r"is not a usable VixDiskLib: it lacks InitEx, Exit"), open_vddk(tmp_path):
        pass
