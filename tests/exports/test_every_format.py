"""A point that is exported in any format is the same disks for QEMU's tools, and for an import of ours.

``make test`` runs each format with one machine of three odd disks, and each machine with one format. ``make exports``
runs all of them.
"""

from __future__ import annotations

import pytest

from tests.exports.exporting import Samples, exported, imported_again, make_samples, require_equal, roots_of
from tests.exports.kinds_of_images import KINDS, KindOfImage
from tests.exports.samples import SAMPLES
from vmkeep.model.exports import ImageFormat

THERE = [kind for kind in KINDS if kind.name in {*ImageFormat}]
EVERY = [(kind, name) for kind in THERE for name in SAMPLES]


def test_every_format_is_proved_here():
    assert {kind.name for kind in THERE} == {*ImageFormat}


def _usual(kind: KindOfImage, name: str) -> bool:
    """Whether ``make test`` runs a format with a machine."""
    if name == "beyond-2-tb":
        return kind.name == "qcow2"  # because QEMU looks at each grain of a VMDK of that size
    turn = list(SAMPLES).index(name)
    return name == "odd-sizes" or kind is THERE[turn % len(THERE)]


PARAMS = [
    pytest.param(kind, name, id=f"{kind.name}-{name}", marks=() if _usual(kind, name) else (pytest.mark.soak,))
    for kind, name in EVERY
]


@pytest.fixture(scope="session")
def samples(tmp_path_factory) -> Samples:
    return make_samples(tmp_path_factory.mktemp("samples"), SAMPLES)


@pytest.mark.parametrize(("kind", "name"), PARAMS)
def test_an_export_is_equal_for_qemu_and_when_it_is_imported_again(samples, kind, name, tmp_path):
    answer = exported(samples, name, kind, tmp_path)

    require_equal(samples, name, kind, tmp_path)
    assert answer["point"] == samples.points[name].ref
    assert roots_of(imported_again(samples, kind, tmp_path)) == samples.roots(name)
