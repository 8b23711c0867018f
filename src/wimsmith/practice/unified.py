"""Updates as they come since Windows 11 24H2: a WIM file with differentials and their metadata.

Nothing of it can be installed; it is there to be recognised, and to be read for planning. The
stream of differentials holds one forward differential for each payload file.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from wimsmith.offline.wim.format.tree import Tree
from wimsmith.offline.wim.writing.write import write_wim
from wimsmith.practice.cabinet import build_cabinet
from wimsmith.practice.deltas import build_delta
from wimsmith.practice.names import WINDOWS_TOKEN
from wimsmith.practice.spec import UpdateSpec
from wimsmith.practice.xmltext import Node, node, render

_INDEX_NAMESPACE = "urn:ContainerIndex"
_COMPOSITION_NAMESPACE = "http://schemas.microsoft.com/embedded/2004/10/ImageUpdate"
_STREAM_HEADER_BYTES = 128
_STACK_ARTICLE = "KB5000999"


def build_wim_update(spec: UpdateSpec, files: Mapping[str, bytes], target: Path) -> Path:
    r"""Write a `.msu` that is an unpacked WIM file, and return `target`.

    Args:
        spec: the update; its article and package name the members.
        files: what the package consists of, with `\` between folder and file.
        target: path of the file, which is replaced.
    """
    stem = Path(spec.file_name).stem
    payload = {name: data for name, data in files.items() if "\\" in name}
    stream, index = differential_stream(payload, f"{stem}.psf")
    inner = {name: data for name, data in files.items() if "\\" not in name}
    members = {
        f"{stem}.psf": stream,
        "SSU-26100.1000-x64.cab": build_cabinet({"update.mum": _stack_manifest()}),
        "onepackage.AggregatedMetadata.cab": aggregated_metadata(spec),
        "DesktopDeployment.cab": build_cabinet({"practice.txt": b"nothing"}),
        f"{stem}-pkgProperties.txt": b"",
    }
    inner_path = target.with_name(f"{target.name}.inner")
    try:
        _write(inner_path, inner | {"express.psf.cix.xml": index})
        members[f"{stem}.wim"] = inner_path.read_bytes()
    finally:
        inner_path.unlink(missing_ok=True)
    _write(target, members)
    return target


def _write(target: Path, files: Mapping[str, bytes]) -> None:
    tree = Tree.new()
    content = {}
    for name, data in sorted(files.items()):
        sha1 = hashlib.sha1(data, usedforsecurity=False).digest()
        content[sha1] = data
        tree.put_file(name, sha1)
    write_wim(target, trees={1: tree}, new_content=content, overwrite=True)


def differential_stream(files: Mapping[str, bytes], name: str) -> tuple[bytes, bytes]:
    """A stream with a forward differential for each file, and the index that lists them."""
    stream = bytearray(struct.pack("<8sHH", b"PSTREAM\0", 2, 2).ljust(_STREAM_HEADER_BYTES, b"\0"))
    nodes = []
    for number, (path, data) in enumerate(files.items()):
        stored = build_delta(b"", data)
        folder, _, base_name = path.partition("\\")
        digest = node("Hash", alg="SHA256", value=hashlib.sha256(stored).hexdigest().upper())
        place = {"type": "RAW", "offset": str(len(stream)), "length": str(len(stored))}
        delta = node("Delta", [Node("Source", place, (digest,))])
        about = {"id": str(number), "name": f"{folder}\\f\\{base_name}"}
        size = {"length": str(len(stored)), "time": "133601796000000000", "attr": "128"}
        nodes.append(Node("File", {**about, **size}, (digest, delta)))
        stream += stored
    search = node(
        "DeltaBasisSearch", [node("Location", id="0", path="{windir}\\winsxs", flags="0")]
    )
    about = {"name": name, "type": "PSF", "length": str(len(stream)), "version": "1"}
    index = Node("Container", {**about, "xmlns": _INDEX_NAMESPACE}, (search, node("Files", nodes)))
    return bytes(stream), render(index)


def aggregated_metadata(spec: UpdateSpec) -> bytes:
    """Composition databases of the update and of the servicing stack it brings."""
    version = spec.package.identity.version
    build, revision = version.split(".")[:2]
    stack = f"Package_for_ServicingStack~{WINDOWS_TOKEN}~amd64~~26100.1000.1.0"
    documents = {
        f"LCUCompDB_{spec.article}.xml": _composition(
            spec.package.identity.package_name,
            version,
            needs=f"10.0.{build}.1",
            leads_to=f"10.0.{build}.{revision}",
        ),
        f"SSUCompDB_{_STACK_ARTICLE}.xml": _composition(stack, "26100.1000.1.0"),
        "modelcompdb.xml": _model(),
    }
    return build_cabinet(
        {f"{name}.cab": build_cabinet({name: data}) for name, data in documents.items()}
    )


def _composition(
    package: str, version: str, *, needs: str | None = None, leads_to: str | None = None
) -> bytes:
    item = node("PayloadItem", Path="practice.cab", PayloadSize="1000", PayloadType="Canonical")
    payload = node("Payload", [item])
    listed = Node("Package", {"ID": package, "Version": version}, (payload,))
    return _document([node("Packages", [listed])], "BuildUpdate", needs, leads_to)


def _model() -> bytes:
    """The database that describes a whole Windows, which is not about the update."""
    return _document([node("Features")], "Build", "10.0.99999.1", None)


def _document(content: Iterable[Node], kind: str, needs: str | None, leads_to: str | None) -> bytes:
    root = node(
        "CompDB",
        content,
        Type=kind,
        BuildArch="amd64",
        OSVersion=needs,
        TargetOSVersion=leads_to,
        xmlns=_COMPOSITION_NAMESPACE,
    )
    return render(root)


def _stack_manifest() -> bytes:
    identity = node(
        "assemblyIdentity",
        name="Package_for_ServicingStack",
        version="26100.1000.1.0",
        language="neutral",
        processorArchitecture="amd64",
        publicKeyToken=WINDOWS_TOKEN,
    )
    package = node("package", identifier=_STACK_ARTICLE, releaseType="Update")
    return render(node("assembly", [identity, package], xmlns="urn:schemas-microsoft-com:asm.v3"))
