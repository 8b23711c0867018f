"""Generates update files: cabinets with a package inside, and the classic `.msu` around them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from wimsmith.practice.assemble import PackageFiles, assemble, package_catalog, packages
from wimsmith.practice.cabinet import build_cabinet
from wimsmith.practice.containerindex import indexed_cabinet
from wimsmith.practice.content import ContentPool
from wimsmith.practice.names import Identity
from wimsmith.practice.root import PracticeRoot, practice_root
from wimsmith.practice.spec import Container, Damage, PackageSpec, Signing, UpdateSpec
from wimsmith.practice.unified import build_wim_update
from wimsmith.practice.xmltext import Node, node, render

_UNATTEND = "urn:schemas-microsoft-com:unattend"
_UNIX_FILETIME = 116_444_736_000_000_000
_PLATFORMS = {"amd64": "x64", "x86": "x86", "arm64": "arm64"}


def build_update(spec: UpdateSpec, target: Path, *, root: PracticeRoot | None = None) -> Path:
    """Write the update that `spec` describes to `target`, and return `target`.

    Args:
        spec: what to generate.
        target: path of the file, which is replaced.
        root: signs the catalogs; by default the practice root of the target's folder, which is
            made when the folder has none.

    Raises:
        OSError: the file cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    signer = root or practice_root(target.parent)
    files = cabinet_files(spec, signer)
    if spec.container is Container.WIM:
        return build_wim_update(spec, files, target)
    data = _cabinet(spec, files)
    if spec.container is Container.MSU:
        data = _msu(spec, {_cabinet_name(one): _packed(one, signer) for one in spec.parts}, data)
    if spec.damage is Damage.TRUNCATED:
        data = data[: len(data) // 2]
    target.write_bytes(data)
    return target


def cabinet_files(spec: UpdateSpec, root: PracticeRoot) -> dict[str, bytes]:
    r"""Files of the payload cabinet by name, with `\` between folder and file."""
    pool = ContentPool()
    parts = [_package(spec, package, pool, root) for package in packages(spec.package)]
    files = {"update.mum": parts[0].manifest, "update.cat": parts[0].catalog}
    for part in parts:
        files |= _package_files(part, pool)
    if spec.branch_forward is not None:
        files |= _forced_files(spec, spec.branch_forward, pool, root)
    files = _damaged(files, spec.damage) | dict(spec.extra_files)
    if spec.file_hashes:
        files["$filehashes$.dat"] = _file_hashes(files)
    return files


def _forced_files(
    spec: UpdateSpec, forced: PackageSpec, pool: ContentPool, root: PracticeRoot
) -> dict[str, bytes]:
    """The twin that forces a branch: its top stands only under the name of `update-bf`."""
    top, *children = [_package(spec, package, pool, root) for package in packages(forced)]
    files = {"update-bf.mum": top.manifest, "update-bf.cat": top.catalog}
    for part in (replace(top, name="update-bf"), *children):
        files |= _package_files(part, pool)
    return files


def _package(
    spec: UpdateSpec, package: PackageSpec, pool: ContentPool, root: PracticeRoot
) -> PackageFiles:
    signer: PracticeRoot | None = root
    if spec.signing is Signing.FOREIGN:
        signer = PracticeRoot.new("A root that nobody trusts")
    elif spec.signing is Signing.NONE:
        signer = None
    files = assemble(package, pool, signer, sha256=spec.sha256, created=spec.created)
    if spec.signing is Signing.WRONG_HASH:
        others = (b"a manifest that is not in this package",)
        catalog = package_catalog(package, others, signer, sha256=spec.sha256, created=spec.created)
        return replace(files, catalog=catalog)
    if spec.signing is Signing.BROKEN:
        return replace(files, catalog=_flipped(files.catalog, -5))
    return files


def _package_files(part: PackageFiles, pool: ContentPool) -> dict[str, bytes]:
    files = {f"{part.name}.mum": part.manifest, f"{part.name}.cat": part.catalog}
    files |= {f"{key}.manifest": manifest for key, manifest in part.manifests.items()}
    payload = part.payload.items()
    return files | {f"{key}\\{name}": pool.read(item.sha1) for (key, name), item in payload}


def _damaged(files: Mapping[str, bytes], damage: Damage) -> dict[str, bytes]:
    """The files with one of them spoilt; the hash list is made later and tells nothing."""
    result = dict(files)
    payload = sorted(name for name in files if "\\" in name)
    manifests = sorted(name for name in files if name.endswith(".manifest"))
    if damage is Damage.PAYLOAD:
        result[payload[0]] = _flipped(files[payload[0]], len(files[payload[0]]) // 2)
    elif damage is Damage.MISSING_PAYLOAD:
        del result[payload[0]]
    elif damage is Damage.MANIFEST:
        result[manifests[0]] = files[manifests[0]] + b"\r\n<!-- changed -->"
    return result


def _flipped(data: bytes, place: int) -> bytes:
    spoilt = bytearray(data)
    spoilt[place] ^= 0x01
    return bytes(spoilt)


def _file_hashes(files: Mapping[str, bytes]) -> bytes:
    """Hashes of the stored files, as packages of Windows 10 and later list them."""
    lines = []
    for name in ("sha1", "sha256"):
        lines += [f"[{name}]", ""]
        for path, data in files.items():
            digest = hashlib.new(name, data).hexdigest().upper()
            lines.append(f"{path}={digest},{len(data):X}")
        lines.append("")
    return b"\xff\xfe" + "\r\n".join(lines).encode("utf-16-le")


def _cabinet(spec: UpdateSpec, files: Mapping[str, bytes]) -> bytes:
    if spec.indexed:
        filetime = int(_modified(spec).timestamp()) * 10_000_000 + _UNIX_FILETIME
        files = indexed_cabinet(files, filetime=filetime, sha256=spec.sha256)
    return build_cabinet(
        files,
        compress=spec.compress,
        modified=_modified(spec),
        reserve=bytes(20) if spec.trailing_bytes else b"",
        trailing=bytes(spec.trailing_bytes),
    )


def _modified(spec: UpdateSpec) -> datetime:
    return datetime.strptime(spec.created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _packed(part: UpdateSpec, root: PracticeRoot) -> bytes:
    return _cabinet(part, cabinet_files(part, root))


def _cabinet_name(spec: UpdateSpec) -> str:
    return f"{Path(spec.file_name).stem}.cab"


def _msu(spec: UpdateSpec, parts: Mapping[str, bytes], payload: bytes) -> bytes:
    """The `.msu`; its cabinets are stored in another order than they are to be installed in."""
    stem = Path(spec.file_name).stem
    scan = build_cabinet({"package.xml": _scan_document(spec)}, modified=_modified(spec))
    files = {
        "WSUSSCAN.cab": build_cabinet({"package.cab": scan}, modified=_modified(spec)),
        _cabinet_name(spec): payload,
        **dict(reversed(list(parts.items()))),
        f"{stem}.xml": _unattend((*spec.parts, spec)),
        f"{stem}-pkgProperties.txt": _properties(spec),
    }
    if parts and spec.ordered:
        names = enumerate((*parts, _cabinet_name(spec)), 1)
        lines = "".join(f"{number}={name}\r\n" for number, name in names)
        files["PkgInstallOrder.txt"] = lines.encode("ascii")
    return build_cabinet(files, compress=spec.compress, modified=_modified(spec))


def _scan_document(spec: UpdateSpec) -> bytes:
    return render(node("OfflineSyncPackage", CreationDate=spec.created, PackageId=spec.article))


def _unattend(updates: Iterable[UpdateSpec]) -> bytes:
    packages = [_installed(one.package.identity, _cabinet_name(one)) for one in updates]
    return render(node("unattend", [node("servicing", packages)], xmlns=_UNATTEND))


def _installed(identity: Identity, cabinet: str) -> Node:
    names = {
        "name": identity.name,
        "version": identity.version,
        "language": identity.language,
        "processorArchitecture": identity.architecture,
        "publicKeyToken": identity.token,
    }
    location = f"%configsetroot%\\{cabinet}"
    parts = [Node("assemblyIdentity", names), node("source", location=location)]
    return node("package", parts, action="install")


def _properties(spec: UpdateSpec) -> bytes:
    identity = spec.package.identity
    values = {
        "ApplicabilityInfo": "Practice;",
        "Applies to": "Windows practice image",
        "Build Date": spec.created[:10].replace("-", "/"),
        "Company": "Wimsmith practice",
        "File Version": "1",
        "Installation Type": "FULL",
        "Installer Engine": "Component Based Servicing - WUSA.exe",
        "Installer Version": "6.0.0.0",
        "KB Article Number": spec.article.removeprefix("KB"),
        "Language": "ALL" if not identity.culture else identity.culture,
        "Package Type": spec.package.release_type,
        "Processor Architecture": identity.architecture,
        "Product Name": "Windows practice image",
        "Support Link": "",
    }
    return "".join(f'{name}="{value}"\r\n' for name, value in values.items()).encode("ascii")


def update_file_name(article: str, architecture: str, container: Container) -> str:
    """A file name as downloads have: `windows-practice-KB5000001-x64.msu`."""
    platform = _PLATFORMS.get(architecture, architecture)
    return f"windows-practice-{article}-{platform}.{container.extension}"
