"""Packages whose files stand in a container index, expanded by the simplest means, for tests."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from wimsmith.offline.packages.containers.cabinet import expand_cabinet
from wimsmith.offline.packages.deltas.batch import DeltaJob, expand_deltas

_NAMESPACE = "{urn:ContainerIndex}"

Sources = tuple[Path | None, str, int | None]
"""Stored member, its type, number of the file it is a delta against."""


class Index:
    """The container index of an expanded cabinet."""

    def __init__(self, cabinet: Path, folder: Path) -> None:
        members = {file.name: file.path for file in expand_cabinet(cabinet, folder)}
        self.files: dict[int, tuple[str, int, str, str]] = {}
        self.sources: dict[int, Sources] = {}
        for file in ET.fromstring(members["_manifest_.cix.xml"].read_bytes()).iter(
            f"{_NAMESPACE}File"
        ):
            number = int(file.get("id", ""))
            digest = file.find(f"{_NAMESPACE}Hash")
            assert digest is not None
            about = (digest.get("alg", ""), digest.get("value", "").lower())
            self.files[number] = (file.get("name", ""), int(file.get("length", "")), *about)
            source = file.find(f"{_NAMESPACE}Delta/{_NAMESPACE}Source")
            basis = file.find(f"{_NAMESPACE}Delta/{_NAMESPACE}Basis")
            self.sources[number] = (
                None if source is None else members[source.get("name", "")],
                "" if source is None else source.get("type", ""),
                None if basis is None else int(basis.get("file", "")),
            )

    def ordered(self) -> Iterator[int]:
        """Numbers of files, each after the one it is made from."""
        done: set[int] = set()
        for number in self.files:
            chain = []
            following: int | None = number
            while following is not None and following not in done:
                chain.append(following)
                following = self.sources[following][2]
            done.update(chain)
            yield from reversed(chain)

    def expand(self, folder: Path) -> dict[int, Path]:
        """Where the content of each file is; deltas go through the child process."""
        paths: dict[int, Path] = {}
        jobs = []
        for number in self.ordered():
            stored, kind, basis = self.sources[number]
            if stored is None:
                assert basis is not None
                paths[number] = paths[basis]
            elif kind == "RAW":
                paths[number] = stored
            else:
                assert kind == "PA30"
                paths[number] = folder / str(number)
                name, size = self.files[number][:2]
                base = None if basis is None else paths[basis]
                jobs.append(DeltaJob(name, stored, base, paths[number], size))
        expand_deltas(jobs, folder)
        return paths

    def wrong(self, paths: dict[int, Path], expected: dict[str, dict[str, object]]) -> list[str]:
        """Names of files whose content has not the size and hash that were expected."""
        found = []
        for number, (name, size, algorithm, _digest) in self.files.items():
            data = paths[number].read_bytes()
            digest = hashlib.new(algorithm, data).hexdigest()
            stated = {"alg": algorithm, "hash": digest, "length": len(data)}
            if expected.get(name.replace("\\", "/")) != stated or size != len(data):
                found.append(name)
        return found


def real_indexes(real: Path, folder: Path) -> Iterator[tuple[str, Index, dict[str, object]]]:
    """The two real packages with a container index, and what they must expand to."""
    expected = json.loads((real / "vectors" / "ipd_expected.json").read_text("utf-8"))
    update = real / "msu" / "Windows6.1-KB2999226-x64.msu"
    inside = {file.name: file.path for file in expand_cabinet(update, folder / "msu")}
    cabinets = {
        "KB2999226": inside["Windows6.1-KB2999226-x64.cab"],
        "KB2883457-amd64": real / "cbs" / "Windows6.1-KB2883457-amd64.cab",
    }
    for name, cabinet in cabinets.items():
        yield name, Index(cabinet, folder / name), expected[name]
