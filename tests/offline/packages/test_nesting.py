"""Packages in packages: several cabinets in a `.msu`, and cabinets that make up one package."""

from pathlib import Path

import pytest

from offline.packages.made import COMPONENT, TOKEN, MadePackage, made_keyform, mum
from offline.packages.madeindex import made_index
from wimsmith.errors import DamagedPackage, LimitExceeded, NotSupported
from wimsmith.offline.packages.containers.kinds import ContainerKind
from wimsmith.offline.packages.containers.msu import parse_order
from wimsmith.offline.packages.containers.unwrapping import unwrap, unwrap_all
from wimsmith.offline.packages.limits import PackageLimits
from wimsmith.offline.packages.package import assemble, expand, expand_all
from wimsmith.practice.cabinet import build_cabinet


def answer(*cabinets: str) -> bytes:
    """An answer file that installs cabinets in an order."""
    packages = "".join(
        '<package action="install"><assemblyIdentity name="P" version="1.0.0.0" '
        f'language="neutral" processorArchitecture="amd64" publicKeyToken="{TOKEN}"/>'
        f'<source location="%configsetroot%\\{name}"/></package>'
        for name in cabinets
    )
    return (
        '<unattend xmlns="urn:schemas-microsoft-com:unattend"><servicing>'
        f"{packages}</servicing></unattend>"
    ).encode()


def cabinet(name: str) -> bytes:
    return build_cabinet({"update.mum": mum(name)})


def order_of(path: Path, folder: Path) -> list[str]:
    return [package.top.identity.name for package in expand_all(path, folder)]


CABINETS = {
    "WSUSSCAN.cab": b"metadata",
    "one.cab": cabinet("one"),
    "two.cab": cabinet("two"),
    "three.cab": cabinet("three"),
}


@pytest.mark.parametrize(
    ("more", "order"),
    [
        ({}, ["one", "two", "three"]),
        ({"made.xml": answer("three.cab", "ONE.CAB")}, ["three", "one", "two"]),
        ({"ssu-1-x64.cab": cabinet("stack")}, ["stack", "one", "two", "three"]),
        (
            {"SSU-1-x64.cab": cabinet("stack"), "made.xml": answer("two.cab")},
            ["stack", "two", "one", "three"],
        ),
        (
            {
                "PkgInstallOrder.txt": b"[Order]\r\n1=three.cab\r\n2=TWO.CAB\r\n3=one\r\n",
                "made.xml": answer("one.cab"),
            },
            ["three", "two", "one"],
        ),
        (
            {"PkgInstallOrder.txt": "2=two.cab\r\n1=three.cab\r\n".encode("utf-16")},
            ["two", "three", "one"],
        ),
        ({"PkgInstallOrder.txt": b'two.cab\n"three.cab"\nthree.cab\n'}, ["two", "three", "one"]),
        ({"DesktopDeployment.cab": cabinet("tool")}, ["one", "two", "three"]),
        ({"one-express.cab": cabinet("express")}, ["one", "two", "three"]),
    ],
)
def test_several_packages_come_in_the_order_to_install_them(
    tmp_path: Path, more: dict[str, bytes], order: list[str]
) -> None:
    (tmp_path / "a.msu").write_bytes(build_cabinet({**CABINETS, **more}))
    found = unwrap_all(tmp_path / "a.msu", tmp_path / "work")
    assert {one.kind for one in found} == {ContainerKind.MSU}
    packages = [assemble(one, tmp_path / "work") for one in found]
    assert [package.top.identity.name for package in packages] == order


def test_one_package_is_asked_for_and_several_are_there(tmp_path: Path) -> None:
    (tmp_path / "a.msu").write_bytes(build_cabinet(CABINETS))
    with pytest.raises(NotSupported, match=r"in order: one\.cab, two\.cab, three\.cab") as refused:
        expand(tmp_path / "a.msu", tmp_path / "work")
    assert refused.value.reason == "several-packages"
    assert refused.value.hint is not None


def test_a_cabinet_that_is_to_be_installed_and_is_not_there(tmp_path: Path) -> None:
    files = {**CABINETS, "PkgInstallOrder.txt": b"1=one.cab\r\n2=four.cab\r\n"}
    (tmp_path / "a.msu").write_bytes(build_cabinet(files))
    with pytest.raises(DamagedPackage, match=r"four\.cab is to be installed and is not there"):
        expand_all(tmp_path / "a.msu", tmp_path / "work")


def test_one_refused_package_among_several(tmp_path: Path) -> None:
    files = {**CABINETS, "two.cab": build_cabinet({"update.mum": mum("two"), "a.psf.cix.xml": b""})}
    (tmp_path / "a.msu").write_bytes(build_cabinet(files))
    one, two, three = unwrap_all(tmp_path / "a.msu", tmp_path / "work")
    assert one.obstacle is None
    assert three.obstacle is None
    assert two.obstacle is not None
    assert two.obstacle.code == "psfx"
    assert two.top is not None
    assert two.top.identity.name == "two"
    with pytest.raises(NotSupported, match="differentials"):
        expand_all(tmp_path / "a.msu", tmp_path / "again")


@pytest.mark.parametrize(
    ("member", "code", "sentence"),
    [
        (b"MZ a program", "not-cbs", "a program"),
        (b"MSWIM\0\0\0" + bytes(200), "container-wim", "in a WIM container"),
        (cabinet("one")[:30] + b"\1\0" + cabinet("one")[32:], "not-cbs", "part of a set"),
    ],
)
def test_a_member_that_is_no_package_is_refused_under_its_name(
    tmp_path: Path, member: bytes, code: str, sentence: str
) -> None:
    (tmp_path / "a.msu").write_bytes(build_cabinet({**CABINETS, "two.cab": member}))
    one, two, _three = unwrap_all(tmp_path / "a.msu", tmp_path / "work")
    assert one.obstacle is None
    assert (two.kind, two.name) == (ContainerKind.MSU, "two.cab")
    assert two.obstacle is not None
    assert two.obstacle.code == code
    assert sentence in two.obstacle.text


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.msu").write_bytes(build_cabinet({**CABINETS, "two.cab": b""}))
    with pytest.raises(DamagedPackage, match=r"two\.cab: the file is empty"):
        unwrap_all(tmp_path / "a.msu", tmp_path / "work")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("[Section]\n;1=a.cab\n#2=b.cab\n", ()),
        ("1 = a.cab \r\n\r\n2=sub\\b.CAB\r\n3=c", ("a.cab", "b.CAB", "c")),
        ("Name=x\nCab=d.cab", ("d.cab",)),
        ("just words", ()),
    ],
)
def test_lists_of_cabinets(text: str, names: tuple[str, ...]) -> None:
    for encoding in ("cp1252", "utf-8-sig", "utf-16"):
        assert parse_order(text.encode(encoding)) == names


def parts_of(made: MadePackage) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The files of a package, in two halves."""
    payload = {name: data for name, data in made.files.items() if "\\" in name}
    return {name: made.files[name] for name in made.files.keys() - payload.keys()}, payload


@pytest.mark.parametrize("list_name", ["cablist.ini", "cabinet.cablist.ini"])
@pytest.mark.parametrize("with_manifest", [True, False])
def test_cabinets_that_make_up_one_package(
    made: MadePackage, tmp_path: Path, list_name: str, with_manifest: bool
) -> None:
    texts, payload = parts_of(made)
    outer = {list_name: b"[list]", "Cab_1_for_KB1.cab": build_cabinet(payload)}
    if with_manifest:
        outer |= texts
    else:
        outer["Cab_2_for_KB1.cab"] = build_cabinet(texts)
    (tmp_path / "a.cab").write_bytes(build_cabinet(outer))
    package = expand(tmp_path / "a.cab", tmp_path / "work")
    found = {file.name: file.path.read_bytes() for file in package.files.values()}
    assert found == {name.replace("\\", "/"): data for name, data in made.files.items()}


def test_the_same_file_in_two_parts_must_be_the_same(made: MadePackage, tmp_path: Path) -> None:
    for number, other in enumerate((made.files["update.mum"], mum("Other"))):
        outer = {
            "cablist.ini": b"",
            "1.cab": build_cabinet(made.files),
            "2.cab": build_cabinet({"UPDATE.MUM": other, "x.txt": b""}),
            "update.mum": made.files["update.mum"],
        }
        path = tmp_path / f"{number}.cab"
        path.write_bytes(build_cabinet(outer))
        if number == 0:
            assert "X.TXT" in expand(path, tmp_path / "same").files
        else:
            with pytest.raises(DamagedPackage, match="two files with one name"):
                expand(path, tmp_path / "other")


def test_a_file_in_one_part_and_a_folder_in_another(made: MadePackage, tmp_path: Path) -> None:
    outer = {
        "cablist.ini": b"",
        "1.cab": build_cabinet({**made.files, "a": b""}),
        "2.cab": build_cabinet({"a\\b": b""}),
    }
    (tmp_path / "a.cab").write_bytes(build_cabinet(outer))
    with pytest.raises(DamagedPackage, match="two files with one name"):
        expand(tmp_path / "a.cab", tmp_path / "work")


def test_a_list_of_whole_packages_gives_each(tmp_path: Path) -> None:
    outer = {
        "cablist.ini": b"1=two.cab\n2=one.cab",
        "one.cab": cabinet("one"),
        "two.cab": cabinet("two"),
    }
    (tmp_path / "a.cab").write_bytes(build_cabinet(outer))
    assert order_of(tmp_path / "a.cab", tmp_path / "work") == ["two", "one"]


def test_a_list_of_nothing_that_is_a_package(tmp_path: Path) -> None:
    outer = {"cablist.ini": b"", "one.cab": build_cabinet({"a.txt": b""})}
    (tmp_path / "a.cab").write_bytes(build_cabinet(outer))
    with pytest.raises(NotSupported, match=r"no update\.mum") as refused:
        expand(tmp_path / "a.cab", tmp_path / "work")
    assert refused.value.reason == "not-cbs"


def test_differentials_in_an_inner_cabinet(tmp_path: Path) -> None:
    inner = build_cabinet({"update.mum": mum("inner"), "express.psf.cix.xml": b""})
    (tmp_path / "a.cab").write_bytes(build_cabinet({"cablist.ini": b"", "Cab_1.cab": inner}))
    container = unwrap(tmp_path / "a.cab", tmp_path / "work")
    assert container.obstacle is not None
    assert container.obstacle.code == "psfx"
    assert container.top is not None


def test_an_index_in_a_list_in_a_set(made: MadePackage, tmp_path: Path) -> None:
    """Three levels: set of cabinets, list of cabinets, index of members."""
    index = made_index(made.files["update.mum"])
    nested = build_cabinet({"cablist.ini": b"", "inner.cab": index.cabinet()})
    outer = build_cabinet({"WSUSSCAN.cab": b"", "made.cab": nested}, trailing=b"signature")
    (tmp_path / "a.msu").write_bytes(outer)
    package = expand(tmp_path / "a.msu", tmp_path / "work")
    assert "MADE/SECOND.DLL" in package.files


def test_cabinets_among_the_payload_are_payload(made: MadePackage, tmp_path: Path) -> None:
    name = f"{made_keyform(COMPONENT)}\\inner.cab"
    outer = {"cablist.ini": b"", "1.cab": build_cabinet({**made.files, name: b"MZ no cabinet"})}
    (tmp_path / "a.cab").write_bytes(build_cabinet(outer))
    package = expand(tmp_path / "a.cab", tmp_path / "work")
    assert package.payload(made_keyform(COMPONENT), "inner.cab").read_bytes() == b"MZ no cabinet"


@pytest.mark.parametrize(
    "limits",
    [
        PackageLimits(total_bytes=900_000),
        PackageLimits(files=4),
        PackageLimits(nesting=1),
        PackageLimits(cabinets=2),
    ],
)
def test_limits_count_all_levels_together(tmp_path: Path, limits: PackageLimits) -> None:
    data = build_cabinet({"update.mum": mum("made"), "large": bytes(500_000)}, compress=False)
    for _level in range(2):
        data = build_cabinet({"cablist.ini": b"", "inner.cab": data}, compress=False)
    (tmp_path / "a.cab").write_bytes(data)
    assert expand(tmp_path / "a.cab", tmp_path / "enough").top.name.startswith("made~")
    with pytest.raises((LimitExceeded, DamagedPackage)):
        expand(tmp_path / "a.cab", tmp_path / "work", limits=limits)


def test_a_cabinet_of_many_cabinets_ends(tmp_path: Path) -> None:
    """Each of twenty cabinets holds twenty: the bytes of all are counted."""
    leaf = build_cabinet({"update.mum": mum("leaf"), "large": bytes(200_000)})
    branch = build_cabinet({"cablist.ini": b"", **{f"{n}.cab": leaf for n in range(20)}})
    root = build_cabinet({"cablist.ini": b"", **{f"{n}.cab": branch for n in range(20)}})
    (tmp_path / "a.cab").write_bytes(root)
    with pytest.raises(LimitExceeded):
        expand_all(tmp_path / "a.cab", tmp_path / "work", limits=PackageLimits(total_bytes=1 << 20))
