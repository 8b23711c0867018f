"""A file with several packages on the site: one update in lists, plans, runs and exclusions."""

from pathlib import Path

import pytest

from sitekit import Api, Practice
from wimsmith.practice.cabinet import build_cabinet

FIRST, SECOND = "Package_for_KB5000042", "Package_for_KB5000043"


@pytest.fixture
def ready(api: Api, practice: Practice) -> Api:
    api.allow_servicing(practice.fingerprint)
    return api


def several(api: Api, practice: Practice, *names: str) -> Path:
    """A `.msu` with the cabinets of these updates, in this order."""
    members = {f"{name}.cab": practice.update(name).read_bytes() for name in names}
    order = "".join(f"{name}.cab\r\n" for name in names).encode()
    path = api.media / "set.msu"
    path.write_bytes(build_cabinet({"WSUSSCAN.cab": b"", "PkgInstallOrder.txt": order, **members}))
    return path


def packages(api: Api, image: str) -> set[str]:
    """Names of what the image has of KB500..., without tokens and versions."""
    found = api.get(f"/images/{image}/packages", q="KB500")["items"]
    return {one["identity"].partition("~")[0] for one in found}


def planned(api: Api, image: str, update: int) -> tuple[str, str]:
    (row,) = api.post("/servicing/plan", {"image": image, "updates": [str(update)]})["items"]
    return row["word"], row["code"]


def test_what_applies_of_it_is_installed_and_the_rest_is_told(
    ready: Api, practice: Practice
) -> None:
    image = ready.add(practice.image())
    update = ready.import_update(practice.update("several"))
    assert planned(ready, image, update) == ("Applicable", "")

    run = ready.service(image, update)

    (result,) = run["results"]
    assert (run["status"], result["word"], result["text"]) == ("Successful", "Installed", "")
    assert {one["code"] for one in result["findings"]} == {"arch", "parent"}
    assert all("arm64.cab" in one["text"] for one in result["findings"])
    assert {FIRST, SECOND} <= packages(ready, image)
    assert planned(ready, image, update) == ("Already installed", "installed")


def test_a_part_that_cannot_be_installed_keeps_the_others_out_and_is_named(
    ready: Api, practice: Practice
) -> None:
    image = ready.add(practice.image())
    update = ready.import_update(several(ready, practice, "small", "unsupported-service"))
    other = ready.import_update(practice.update("rollup"))

    run = ready.service(image, update, other)

    results = {one["update"]: one for one in run["results"]}
    assert run["status"] == "Successful with errors"
    assert results[other]["word"] == "Installed"
    assert results[update]["code"] == "advanced-new:memberships/Service"
    assert results[update]["text"].startswith("unsupported-service.cab: ")
    assert "Package_for_KB5000006" not in packages(ready, image)


def test_excluding_one_part_excludes_the_file(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image())
    update = ready.import_update(practice.update("several"))
    ready.post("/servicing/exclusions", {"subject": "KB5000042", "reason": "breaks a printer"})

    assert planned(ready, image, update) == ("Excluded", "excluded")
    run = ready.service(image, update)
    (result,) = run["results"]
    assert (run["status"], result["code"]) == ("Nothing applied", "excluded")
    assert "breaks a printer" in result["text"]
