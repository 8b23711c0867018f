"""Site settings, roles, drives, numbering."""

import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from sitekit import Api
from wimsmith.errors import Forbidden, InvalidInput
from wimsmith.site import drive, service, settings
from wimsmith.site.access import PERMISSIONS, Actor, ObjectClass, Role, Verb, require
from wimsmith.site.models import AuditEvent


def test_every_setting_is_listed_with_its_default(api: Api) -> None:
    items = api.get("/settings")["items"]

    assert {item["name"] for item in items} == set(settings.DEFINITIONS)
    assert all(item["value"] == item["default"] for item in items)
    assert all(item["text"] for item in items)


def test_native_servicing_is_experimental_and_off_at_first(api: Api) -> None:
    found = api.get("/settings/experimental_native_servicing")

    assert found["value"] is False
    assert found["text"].startswith("Experimental")


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("site_code", "abc", "ABC"),
        ("experimental_native_servicing", True, True),
        ("servicing_drive", "", ""),
        ("unc_roots", {"//files/images/": "/mnt"}, {"\\\\files\\images": "/mnt"}),
        ("trusted_test_roots", ["AB:" * 31 + "AB"], ["ab" * 32]),
    ],
)
def test_a_good_value_is_kept(api: Api, name: str, value: Any, kept: Any) -> None:
    api.setting(name, value)

    assert api.get(f"/settings/{name}")["value"] == kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("site_code", "ABCD"),
        ("site_code", 7),
        ("experimental_native_servicing", "yes"),
        ("servicing_drive", "relative"),
        ("unc_roots", {"/mnt": "/mnt"}),
        ("unc_roots", {"\\\\files\\images": "relative"}),
        ("unc_roots", []),
        ("trusted_test_roots", ["ab"]),
        ("trusted_roots", "ab"),
    ],
)
def test_a_bad_value_is_refused(api: Api, name: str, value: Any) -> None:
    problem = api.refused("PUT", f"/settings/{name}", {"value": value})

    assert problem["code"] == "invalid-input"
    assert api.get(f"/settings/{name}")["value"] == api.get(f"/settings/{name}")["default"]


def test_an_unknown_setting_is_not_found_and_the_known_are_named(api: Api) -> None:
    problem = api.refused("PUT", "/settings/colour", {"value": "red"})

    assert problem["code"] == "not-found"
    assert "servicing_drive" in problem["hint"]


def test_a_change_is_in_the_audit_with_before_and_after(api: Api) -> None:
    api.setting("site_code", "ABC")

    with api.site.database.read() as session:
        (event,) = session.scalars(select(AuditEvent)).all()
    assert (event.actor, event.verb, event.object) == (
        "local administrator",
        "modify",
        "setting site_code",
    )
    assert (event.before, event.after) == ({"value": "WIM"}, {"value": "ABC"})


def test_a_network_filesystem_is_no_servicing_drive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "filesystem_of", lambda _path: "nfs4")

    with pytest.raises(InvalidInput, match=r"network filesystem \(nfs4\)"):
        drive.check_drive("/mnt/share")


def test_the_filesystem_of_a_path_is_that_of_its_mount(tmp_path: Path) -> None:
    assert drive.filesystem_of(Path("/proc/self")) == "proc"
    assert drive.filesystem_of(tmp_path) == drive.filesystem_of(tmp_path / "not" / "there")


def test_the_filesystem_is_unknown_where_its_mount_is_out_of_sight(tmp_path: Path) -> None:
    listed = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    is_listed = any(line.split()[4] == "/" for line in listed)  # not so inside a chroot
    assert bool(drive.filesystem_of(tmp_path)) == is_listed


def test_a_drive_that_is_missing_falls_back(tmp_path: Path) -> None:
    automatic = drive.resolve_drive("", tmp_path)
    missing = drive.resolve_drive("/not/there", tmp_path)
    there = drive.resolve_drive(os.fspath(tmp_path), Path("/state"))

    assert automatic == drive.ServicingDrive(tmp_path / "ConfigMgr_OfflineImageServicing")
    assert (missing.folder, bool(missing.warning)) == (automatic.folder, True)
    assert there.folder == tmp_path / "ConfigMgr_OfflineImageServicing"


def test_numbers_are_never_given_twice(api: Api) -> None:
    with api.site.database.write() as session:
        first = [service.next_number(session, "x", 10) for _ in range(3)]
    with api.site.database.write() as session:
        assert [*first, service.next_number(session, "x", 10)] == [10, 11, 12, 13]


def test_package_ids_are_a_code_and_five_hexadecimal_digits(api: Api) -> None:
    with api.site.database.write() as session:
        for _ in range(10):
            last = service.next_package_id(session)

    assert last == "WIM0000A"


@pytest.mark.parametrize("role", Role)
def test_every_role_reads_everything(role: Role) -> None:
    for kind in ObjectClass:
        require(Actor("x", role), kind, Verb.READ)


def test_a_reader_changes_nothing() -> None:
    assert {verb for _, verb in PERMISSIONS[Role.READ_ONLY]} == {Verb.READ}


def test_a_servicing_operator_schedules_and_deletes_nothing() -> None:
    operator = Actor("x", Role.SERVICING_OPERATOR)
    require(operator, ObjectClass.SERVICING, Verb.CREATE)

    for kind in ObjectClass:
        with pytest.raises(Forbidden, match="may not delete"):
            require(operator, kind, Verb.DELETE)
