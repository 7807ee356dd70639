"""libvirt's own driver of QEMU, without its daemon."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.patience import HANG

NOBODY = 65534


def native(text: str, folder: Path) -> str:
    """The QEMU command line that libvirt makes of a domain, as a user without any rights."""
    path = folder / "domain.xml"
    path.write_text(text.replace('type="kvm"', 'type="qemu"').replace('mode="host-model"', 'mode="maximum"'))
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.getuid() == 0 else []
    ended = subprocess.run(
        [*as_nobody, "virsh", "-q", "-c", f"qemu:///embed?root={folder}/root", "domxml-to-native", "qemu-argv",
         "--xml", str(path)],
        env={"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "PATH": os.environ["PATH"]},
        capture_output=True, text=True, timeout=HANG, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
