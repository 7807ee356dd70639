"""The `vmlab` command: start a simulated vSphere and say, in one line of JSON, how to reach it."""

import json
import logging
import signal
import sys
import threading
from pathlib import Path

import click

from vmlab.lab import DEFAULT_PASSWORD, LabInUseError, LabOptions, LabServer
from vmlab.managed.site import RELEASES, Kind, Product
from vmlab.native import BuildError
from vmlab.soap import LANGUAGES

log = logging.getLogger("vmlab")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vmkeep", message="%(prog)s %(version)s")
def main() -> None:
    """A vSphere on a laptop: vCenter's SOAP API over TLS, disks with real data, and a stand-in libvixDiskLib.

    Everything lives in one folder, and on 127.0.0.1 by default. No VMware software is needed, and none is contained.
    """


@main.command()
@click.option(
    "--dir",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of this lab; made and filled at the first start, kept between starts.",
)
@click.option(
    "--port",
    default=0,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="TLS port, on 127.0.0.1 only; 0 picks a free one.",
)
@click.option("--password", default=DEFAULT_PASSWORD, show_default=True, help="Password of all users of the lab.")
@click.option(
    "--data-disk-gib",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0.02, 1024),
    help="Size of app01's data disk when the inventory is made; a fifth of it holds data.",
)
@click.option(
    "--session-timeout",
    default=1800.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds after which an idle session ends.",
)
@click.option(
    "--language",
    default="en",
    show_default=True,
    type=click.Choice(sorted(LANGUAGES)),
    help="Language of messages and device labels, as a localized vCenter has them.",
)
@click.option(
    "--server",
    default=Kind.VCENTER.value,
    show_default=True,
    type=click.Choice([kind.value for kind in Kind]),
    help="Kind of server: a vCenter, or one ESXi host without vCenter, licensed or free. A folder keeps its kind.",
)
@click.option(
    "--release",
    default=Product().version,
    show_default=True,
    type=click.Choice(list(RELEASES)),
    help="Release of vSphere.",
)
@click.option(
    "--open-to-network",
    is_flag=True,
    help="Let other machines reach the TLS port. Its default password is known to all: only in a network of your own.",
)
@click.option("--verbose", is_flag=True, help="Log every fault to stderr.")
def serve(
    folder: Path, port: int, password: str, data_disk_gib: float, session_timeout: float, language: str, server: str,
    release: str, open_to_network: bool, verbose: bool,
) -> None:  # fmt: skip
    """Serve the lab in DIR until Ctrl-C or SIGTERM.

    Prints one line of JSON when clients can connect: url, host, port, user, password, thumbprint, vddk (the folder to
    give to a VDDK client), control, control_token, pid. Logs go to stderr.

    Users: administrator@vsphere.local (everything), backup@vsphere.local (what backups and restores need),
    readonly@vsphere.local (look only). A host without vCenter has root, backup and readonly.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    options = LabOptions(
        folder=folder.absolute(),
        port=port,
        password=password,
        data_disk_bytes=int(data_disk_gib * 2**30) // 65536 * 65536,
        session_idle_seconds=session_timeout,
        language=language,
        product=Product(kind=Kind(server), version=release),
        open_to_network=open_to_network,
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        lab = LabServer(options)
    except (LabInUseError, BuildError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot serve {folder} on port {port}: {error}") from error
    lab.start()
    try:
        print(json.dumps(lab.describe()), flush=True)
        stop.wait()
        log.info("stopping")
    finally:
        lab.stop()
