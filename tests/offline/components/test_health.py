"""Images that must not be changed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from offline.components.made import MemoryImage, store_of
from wimsmith.offline.components.gate.health import health_findings

CBS = r"Microsoft\Windows\CurrentVersion\Component Based Servicing"


def codes(image: MemoryImage, tmp_path: Path) -> set[str]:
    return {finding.code for finding in health_findings(store_of(image, tmp_path))}


def test_a_healthy_image_has_no_findings(tmp_path: Path) -> None:
    image = MemoryImage()
    image.cbs("PackagesPending")
    image.number("SOFTWARE", rf"{CBS}\SessionsPending", "Exclusive", 0)
    image.tree.make_directory("Windows/WinSxS/Temp/PendingRenames")
    assert codes(image, tmp_path) == set()


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda image: image.put("Windows/WinSxS/pending.xml", b"<x/>"), "pending"),
        (lambda image: image.put("Windows/WinSxS/Temp/PendingRenames/a", b""), "pending"),
        (lambda image: image.put("Windows/WinSxS/Temp/InFlight/a", b""), "pending"),
        (lambda image: image.cbs("RebootPending"), "pending"),
        (lambda image: image.cbs("RebootInProgress"), "pending"),
        (lambda image: image.cbs(r"PackagesPending\A~B~C~~1.0.0.0"), "pending"),
        (lambda image: image.number("SOFTWARE", rf"{CBS}\PackagesPending", "A", 1), "pending"),
        (
            lambda image: image.number("SOFTWARE", rf"{CBS}\SessionsPending", "Exclusive", 3),
            "pending",
        ),
        (lambda image: image.text("COMPONENTS", "", "PendingXmlIdentifier", "x"), "pending"),
        (lambda image: image.cbs("Unserviceable"), "image-damaged"),
        (lambda image: image.number("SOFTWARE", CBS, "Unserviceable", 1), "image-damaged"),
        (lambda image: image.number("SYSTEM", "Select", "Default", 2), "image-damaged"),
        (lambda image: image.windows(5, 2, 3790), "os-too-old"),
    ],
)
def test_what_stops_an_image(
    spoil: Callable[[MemoryImage], object], code: str, tmp_path: Path
) -> None:
    image = MemoryImage()
    if code == "os-too-old":
        image.hives["SOFTWARE"].delete_value(
            r"Microsoft\Windows NT\CurrentVersion", "CurrentMajorVersionNumber"
        )
    spoil(image)
    assert codes(image, tmp_path) == {code}
