"""`wimsmith updates inspect`, `extract` and `verify`: update files without a site."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from offline.packages.made import Copy, delta, identity_xml, made_package, mum, patch_stream
from wimsmith.cli.main import USAGE_EXIT, run
from wimsmith.errors import (
    AlreadyExists,
    DamagedPackage,
    InvalidInput,
    NotFound,
    NotSupported,
    Untrusted,
)
from wimsmith.practice.cabinet import build_cabinet
from wimsmith.practice.presets import preset, preset_names
from wimsmith.practice.root import PracticeRoot
from wimsmith.practice.updates import build_update

STAGES = ["file signature", "catalogs", "packages", "manifests", "payload"]
BASE_TEXT = (
    b'<?xml version="1.0" encoding="utf-8"?>\r\n<assembly '
    b'xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0" description="Deployment"'
    b"></assembly>\r\n"
)
_BREAKS = {
    "corrupt-payload": ("payload", "is not what its manifest says (untrusted:payload-hash)"),
    "missing-payload": ("payload", "is missing (untrusted:payload-hash)"),
    "corrupt-manifest": ("manifests", "no catalog lists the manifest"),
    "wrong-catalog": ("packages", "does not list it (untrusted:package-hash)"),
    "unsigned": ("catalogs", "0 signatures instead of one (untrusted:catalog-signature)"),
    "broken-signature": ("catalogs", "does not fit its content (untrusted:catalog-signature)"),
    "foreign-root": ("catalogs", "not a trusted root (untrusted:catalog-chain)"),
}
_REASONS = {
    "driver": "driver-element: Package_for_KB5000012 installs drivers",
    "not-offline-capable": "not-offline-capable: Package_for_KB5000013 says that it cannot be",
    "psfx": "psfx: a package of forward and reverse differentials",
    "wim-update": "container-wim: an update in a WIM container, which only Windows can apply so",
    "language-pack": "language-pack: Microsoft-Windows-Client-LanguagePack-Package is a language",
    "service-pack": "service-pack: Package_for_KB5000023 is a service pack",
    "hotpatch": "hotpatch: Package_for_Hotpatch_KB5000024 patches running programs",
}
_CONDITIONS = {
    "unsupported-service": "advanced-new:memberships/Service: memberships/Service needs an",
    "unsupported-configuration": "advanced-new:configuration: configuration needs an installer",
    "unsupported-unknown": "advanced-new:practiceInstaller: practiceInstaller needs an installer",
    "unknown-macro": "macro: nothing certain is known of $(runtime.practiceUnknown)",
    "servicing-stack": "servicing-stack: Package_for_ServicingStack",
}


@pytest.fixture(scope="module")
def root() -> PracticeRoot:
    return PracticeRoot.new()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, root: PracticeRoot) -> "Shelf":
    return Shelf(tmp_path_factory.mktemp("updates"), root)


class Shelf:
    """Updates by the name of their preset, and the certificate of their root."""

    def __init__(self, folder: Path, root: PracticeRoot) -> None:
        self._folder = folder
        self._root = root
        self.certificate = folder / "root.pem"
        self.certificate.write_bytes(root.pem)

    def __getitem__(self, name: str) -> Path:
        spec = preset(name)
        path = self._folder / f"{name}{Path(spec.file_name).suffix}"
        return path if path.exists() else build_update(spec, path, root=self._root)

    @property
    def trust(self) -> tuple[str, Path]:
        return "--test-root", self.certificate


class Ran:
    """What a command has left: exit code, stdout, stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *tokens: object) -> None:
        self.code = run(["updates", *map(str, tokens)])
        self.out, self.err = capsys.readouterr()

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands work in a folder below TMPDIR, and leave nothing there."""
    work = tmp_path / "tmpdir"
    work.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(work))
    yield
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("name", [one for one in preset_names() if one != "truncated"])
def test_every_preset_is_described(
    name: str, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = preset(name)
    ran = Ran(capsys, "inspect", shelf[name], *shelf.trust)
    assert (ran.code, ran.err) == (0, "")
    headline, _, rest = ran.out.partition("\n")
    assert headline.startswith(f"{shelf[name]}: {spec.article} {spec.package.release_type}")
    assert spec.package.identity.package_name in rest
    *_, verdict = [line for line in rest.splitlines() if line.startswith("native installation: ")]
    if name in _REASONS:
        assert verdict == "native installation: no"
        assert f"\n  {_REASONS[name]}" in rest
    elif name in _BREAKS:
        assert verdict == "native installation: no, it is not trusted"
        (trusted,) = [line for line in rest.splitlines() if line.startswith("trusted:")]
        assert trusted.split()[1] == "no:"
        assert _BREAKS[name][1] in trusted
    elif name in _CONDITIONS:
        assert verdict == "native installation: depends on the image"
        assert f"\n  {_CONDITIONS[name]}" in rest
    else:
        assert verdict == "native installation: yes, in images that have what it needs"
        assert "trusted:" in rest
        assert "yes, every link holds, by a test root" in rest


def test_a_cumulative_update_tells_for_what_and_to_what(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Ran(capsys, "inspect", shelf["rollup"], *shelf.trust).out.splitlines()
    assert lines[0].endswith(
        "KB5000001 Security Update for Windows 10 2004 to 22H2 (10.0.19041), amd64"
    )
    facts = dict(line.split(": ", 1) for line in lines if ": " in line)
    assert facts["leads to"].strip() == "19041.501, by the version of the package"
    assert facts["servicing stack"].strip() == "10.0.19041.1 or later"
    assert facts["needs"].strip() == (
        "Microsoft-Windows-Foundation-Package 10.0.19041.1 or a later revision of this build"
    )
    assert facts["replaces"].strip() == "lower versions of this package and of 2 components"
    assert facts["brings"].strip() == "2 packages, 3 manifests, 3 files of 42.0 KiB"


def test_an_update_that_is_not_opened_is_described_all_the_same(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Ran(capsys, "inspect", shelf["wim-update"], "--long").out
    assert "leads to:        19041.701, by the composition database" in text
    assert "made against:    10.0.19041.1" in text
    assert "carries stack:   SSU-26100.1000-x64.cab" in text
    assert "differentials:   3 forward" in text
    assert "DesktopDeployment.cab" in text


def test_json_has_everything(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    rows = Ran(capsys, "inspect", shelf["rollup"], shelf["driver"], *shelf.trust, "--json").data
    assert [(one["article"], one["native"]) for one in rows] == [
        ("KB5000001", "yes"),
        ("KB5000012", "no"),
    ]
    rollup, driver = rows
    assert rollup["identity"]["name"] == "Package_for_RollupFix"
    assert rollup["leads_to"]["revision"] == 501
    assert rollup["parents"][0]["build_compare"] == "EQ"
    assert {one["keyform"][:5] for one in rollup["components"]} == {"amd64"}
    assert [set(one) for one in rollup["payload"]] == [
        {"name", "size_bytes", "digest", "algorithm"}
    ] * 3
    assert rollup["trust"]["verdict"] == "trusted"
    assert driver["obstacles"] == [
        {
            "code": "driver-element",
            "text": "Package_for_KB5000012 installs drivers",
            "where": driver["identity"]["package_name"],
        }
    ]
    assert [one[:12] for one in driver["units"][-1]["drivers"]] == ["practice-nic"]
    assert (driver["parts"], driver["planning"]) == ([], None)


def test_long_shows_units_components_and_files(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Ran(capsys, "inspect", shelf["container-index"], "-l").out
    headings = [line.split() for line in text.splitlines() if line.isupper()]
    assert [line[0] for line in headings] == ["UPDATE", "COMPONENT", "SIZE"]
    assert "1 file" in text
    assert text.count(".dll\n") == 4


def test_what_is_no_update_is_called_what_it_is(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "setup.exe").write_bytes(b"MZ" + bytes(200))
    (tmp_path / "SOFTWARE").write_bytes(b"regf" + bytes(600))
    ran = Ran(capsys, "inspect", tmp_path / "setup.exe", shelf["small"], tmp_path / "SOFTWARE")
    assert ran.code == NotSupported.exit
    lines = ran.out.splitlines()
    assert lines[0] == f"{tmp_path / 'setup.exe'}: a program, not an update package"
    assert lines[-1] == f"{tmp_path / 'SOFTWARE'}: a registry hive, not an update package"
    assert "KB5000006" in ran.out


def test_files_that_cannot_be_read_do_not_end_it(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, "inspect", shelf["truncated"], tmp_path / "none", shelf["small"])
    assert ran.code == DamagedPackage.exit
    first, hint, second = ran.err.splitlines()
    assert first.startswith(
        f"error: The update package is damaged: {shelf['truncated']}: it should"
    )
    assert hint == "hint: Download the package again."
    assert second == f"error: {tmp_path / 'none'}: No such file or directory"
    assert "KB5000006" in ran.out
    rows = Ran(capsys, "inspect", shelf["truncated"], shelf["small"], "--json").data
    assert [row.get("error", {}).get("code") for row in rows] == ["damaged-package", None]


def test_names_cannot_move_the_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "&#x9b;2J&#x202e;evil&#x85;"
    inside = f'<update name="u" displayName="{evil}"/>'
    data = mum("P", inside, attributes=f'identifier="{evil}" releaseType="{evil}"').decode()
    data = data.replace(
        'displayName="default"', f'displayName="{evil}" supportInformation="{evil}"'
    )
    files = {"update.mum": data.encode(), "\x9bevil.txt": b"", "\u202egpj.exe": b""}
    (tmp_path / "a.cab").write_bytes(build_cabinet(files))
    ran = Ran(capsys, "inspect", tmp_path / "a.cab", "--long")
    extracted = Ran(capsys, "extract", tmp_path / "a.cab", tmp_path / "out")
    verified = Ran(capsys, "verify", tmp_path / "a.cab", "--links")
    for text in (ran.out, ran.err, extracted.out, extracted.err, verified.out, verified.err):
        assert all(one.isprintable() for line in text.splitlines() for one in line), text
    assert "evil.txt" in ran.out
    assert "gpj.exe" in extracted.err
    assert "not trusted" in ran.out


def test_several_packages_in_one_file_are_told_one_by_one(
    tmp_path: Path, root: PracticeRoot, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = {
        "WSUSSCAN.cab": b"",
        "x-pkgProperties.txt": b"",
        "a.cab": build_cabinet(made_package(root).files),
        "b.cab": shelf["driver"].read_bytes(),
        "PkgInstallOrder.txt": b"b.cab\r\na.cab\r\n",
    }
    (tmp_path / "a.msu").write_bytes(build_cabinet(inside))
    text = Ran(capsys, "inspect", tmp_path / "a.msu", *shelf.trust).out
    assert text.index("package 1, b.cab: KB5000012") < text.index("package 2, a.cab: KB1234567")
    (row,) = Ran(capsys, "inspect", tmp_path / "a.msu", *shelf.trust, "--json").data
    assert [part["native"] for part in row["parts"]] == ["no", "yes"]
    rows = Ran(capsys, "verify", tmp_path / "a.msu", *shelf.trust, "--json").data
    assert [one["verdict"] for one in rows] == ["trusted", "trusted"]


def test_verify_holds_only_for_roots_that_are_trusted(
    shelf: Shelf, root: PracticeRoot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, "verify", shelf["rollup"], *shelf.trust)
    assert ran.code == 0
    assert "trusted by a test root: every link holds" in ran.out
    (tmp_path / "root.der").write_bytes(root.certificate.public_bytes(Encoding.DER))
    ran = Ran(capsys, "verify", shelf["rollup"], "--root", tmp_path / "root.der")
    assert ran.code == 0
    assert "\ntrusted: every link holds" in ran.out
    ran = Ran(capsys, "verify", shelf["rollup"])
    assert ran.code == Untrusted.exit
    assert "which is not a trusted root (untrusted:catalog-chain)\nhint: --root names" in ran.err


@pytest.mark.parametrize("name", list(_BREAKS))
def test_verify_names_the_link_that_breaks(
    name: str, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, "verify", shelf[name], *shelf.trust)
    assert ran.code == Untrusted.exit
    assert _BREAKS[name][1] in ran.err
    (row,) = Ran(capsys, "verify", shelf[name], *shelf.trust, "--json").data
    assert [one["name"] for one in row["stages"]] == STAGES
    states = [one["state"] for one in row["stages"]]
    place = STAGES.index(_BREAKS[name][0])
    assert states == ["absent", "ok", "ok", "ok", "ok"][:place] + ["failed"] + ["not checked"] * (
        4 - place
    )
    assert row["verdict"] == "untrusted"


def test_what_comes_after_a_break_is_not_called_good(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Ran(capsys, "extract", shelf["every-element"], tmp_path / "out")
    files = {
        str(path.relative_to(tmp_path / "out")).replace("/", "\\"): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file() and path.name != "$filehashes$.dat"
    }
    first = min(name for name in files if "\\" in name)
    (tmp_path / "a.cab").write_bytes(build_cabinet({**files, first: b"spoilt"}))
    (row,) = Ran(capsys, "verify", tmp_path / "a.cab", *shelf.trust, "--json").data
    states = {one["name"]: (one["state"], one["text"]) for one in row["stages"]}
    assert states["payload"][0] == "failed"
    assert states["manifests"][0] == "not checked"
    assert states["manifests"][1].endswith("not reached")


@pytest.mark.parametrize(("name", "code"), [("psfx", "psfx"), ("wim-update", "container-wim")])
def test_what_is_not_opened_is_not_proved(
    name: str, code: str, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, "verify", shelf[name], *shelf.trust)
    assert ran.code != 0
    assert f"({code})" in ran.err
    assert " ok " not in ran.out


def test_compressed_manifests_are_never_taken_for_proved(
    root: PracticeRoot, shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = made_package(root)
    name = f"{made.component_keyform}.manifest"
    plain = made.files[name]
    base = tmp_path / "base.xml"
    base.write_bytes(plain[:90])
    stored = delta(patch_stream([Copy(90, slot=3), plain[90:]]), plain, digest=b"", algorithm=0)
    path = made.changed({name: b"DCM\x01" + stored}).write(tmp_path / "a.cab")
    ran = Ran(capsys, "verify", path, *shelf.trust)
    assert ran.code == Untrusted.exit
    assert "error: 1 manifest is stored compressed and could not be read" in ran.err
    assert "--image WIM --index N, or --base FILE" in ran.err
    assert "trusted: every link" not in ran.out
    (row,) = Ran(capsys, "verify", path, *shelf.trust, "--json").data
    assert [one["state"] for one in row["stages"][3:]] == ["not checked"] * 2
    assert row["unchecked"] == [made.component_keyform]
    assert Ran(capsys, "verify", path, *shelf.trust, "--base", base).code == 0
    text = Ran(capsys, "inspect", path, *shelf.trust).out
    assert "1 compressed manifest not read, for want of a text from the image" in text
    text = Ran(capsys, "inspect", path, *shelf.trust, "--base", base).out
    assert "native installation: yes" in text


def test_an_image_gives_the_text_for_compressed_manifests(
    wim: str, shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Ran(capsys, "verify", shelf["small"], "--image", wim).code == NotFound.exit
    assert Ran(capsys, "verify", shelf["small"], "--index", 1).code == InvalidInput.exit
    image = tmp_path / "image.wim"
    (tmp_path / "base.xml").write_bytes(BASE_TEXT)
    arguments = ["--base-manifest", tmp_path / "base.xml", "--compression", "none"]
    assert run(["practice", "image", str(image), *map(str, arguments)]) == 0
    capsys.readouterr()
    ran = Ran(capsys, "verify", shelf["small"], *shelf.trust, "--image", image, "--index", 1)
    assert ran.code == 0, ran.err


def test_extract_makes_a_folder(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, "extract", shelf["container-index"], tmp_path / "out")
    assert ran.code == 0
    first, proved = ran.out.splitlines()
    assert first.startswith(f"{tmp_path / 'out'}: 17 files, ")
    assert proved == "proved: 17 as the container index states"
    assert (tmp_path / "out/update.mum").is_file()
    ran = Ran(capsys, "extract", shelf["small"], tmp_path / "out")
    assert ran.code == AlreadyExists.exit
    assert "hint: Choose a new or empty folder." in ran.err
    report = Ran(capsys, "extract", shelf["small"], tmp_path / "small", "--json").data
    assert report["proofs"] == {"catalog": 4, "manifest": 1, "hash-list": 2}
    assert report["unproved"] == ["$filehashes$.dat"]


def test_extract_refuses_what_is_damaged(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, "extract", shelf["corrupt-payload"], tmp_path / "out")
    assert ran.code == DamagedPackage.exit
    assert "is not what its manifest states" in ran.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", [b"-----BEGIN CERTIFICATE-----\nno", b"no certificate", b""])
def test_a_root_has_to_be_a_certificate(
    text: bytes, shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "root.cer").write_bytes(text)
    ran = Ran(capsys, "verify", shelf["small"], "--root", tmp_path / "root.cer")
    assert ran.code == InvalidInput.exit
    assert "root.cer holds no certificate" in ran.err


def test_a_file_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("inspect", "extract", "verify"):
        assert Ran(capsys, verb).code == USAGE_EXIT


def test_help_says_how_to_use_them(capsys: pytest.CaptureFixture[str]) -> None:
    overview = Ran(capsys, "--help").out
    for verb in ("inspect", "extract", "verify", "import", "list", "show"):
        assert verb in overview
    assert "need no site" in overview
    assert "Example: wimsmith updates inspect *.msu" in Ran(capsys, "inspect", "--help").out


def test_the_real_update_is_proved_and_one_byte_breaks_it(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = (real / "msu").glob("*KB2999226*")
    ran = Ran(capsys, "verify", path)
    assert ran.code == 0
    assert "by Microsoft Corporation, 2015-07-21" in ran.out
    text = Ran(capsys, "inspect", path).out
    assert "KB2999226 Update for Windows 7 SP1, Server 2008 R2 SP1 (6.1.7601), amd64" in text
    assert "branches GDR, LDR" in text
    assert "native installation: yes, in images that have what it needs" in text
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.msu").write_bytes(data)
    assert Ran(capsys, "verify", tmp_path / "a.msu").code in {Untrusted.exit, DamagedPackage.exit}


def test_the_real_neutral_package_depends_on_the_image(
    real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = (real / "cbs").glob("*amd64~~.cab")
    base = real / "dcm" / "base_manifest.bin"
    assert Ran(capsys, "verify", path).code == Untrusted.exit
    assert Ran(capsys, "verify", path, "--base", base).code == 0
    text = Ran(capsys, "inspect", path, "--base", base).out
    assert "native installation: depends on the image" in text
    for element in ("configuration", "feature", "SetIEInstalledDateAI"):
        assert f"advanced-new:{element}: {element} needs an installer of Windows" in text


def test_parents_are_alternatives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = "".join(identity_xml(f"P{number}", "10.0.19041.1") for number in range(12))
    exact = f'<parent buildCompare="EQ" revisionCompare="EQ">{identity_xml("Exact")}</parent>'
    data = mum("P", f"{exact}<parent>{many}</parent>")
    (tmp_path / "a.cab").write_bytes(build_cabinet({"update.mum": data}))
    text = Ran(capsys, "inspect", tmp_path / "a.cab").out
    assert "needs:     Exact 1.2.3.4\n           or P0 10.0.19041.1 or later\n" in text
    assert "\n           or one of 5 others\n" in text
