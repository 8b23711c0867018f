"""Updates in WIM containers and their metadata, made for tests."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from wimsmith.offline.wim.format.tree import ZERO_SHA1, Tree
from wimsmith.offline.wim.writing.write import write_wim
from wimsmith.practice.cabinet import build_cabinet


def write_members(target: Path, files: Mapping[str, bytes]) -> Path:
    """An unpacked WIM file."""
    tree = Tree.new()
    content = {}
    for name, data in files.items():
        sha1 = hashlib.sha1(data).digest() if data else ZERO_SHA1
        tree.put_file(name, sha1)
        if data:
            content[sha1] = data
    write_wim(target, trees={1: tree}, new_content=content, overwrite=True)
    return target


def compdb(
    needs: str | None, leads_to: str | None, kind: str = "BuildUpdate", inside: str = ""
) -> bytes:
    stated = {"OSVersion": needs, "TargetOSVersion": leads_to}
    versions = "".join(f' {name}="{text}"' for name, text in stated.items() if text)
    return (
        f'<CompDB Type="{kind}" BuildArch="arm64"{versions} xmlns="http://schemas.microsoft.com/'
        f'embedded/2004/10/ImageUpdate">{inside}</CompDB>'
    ).encode()


def packed(name: str, data: bytes) -> dict[str, bytes]:
    return {f"{name}.cab": build_cabinet({name: data})}
