"""What other programs say of a WIM: wimlib's listing and verification, and 7-Zip's test."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ZERO = "0" * 40


@dataclass(frozen=True)
class Listed:
    """One entry as `wimlib-imagex dir --detailed` shows it."""

    fields: tuple[tuple[str, str], ...]
    streams: frozenset[tuple[str, str]]
    link_count: int

    def __getitem__(self, name: str) -> str:
        return dict(self.fields)[name]

    def get(self, name: str) -> str | None:
        return dict(self.fields).get(name)


def run(*arguments: object) -> str:
    done = subprocess.run([str(one) for one in arguments], capture_output=True, check=False)
    text = done.stdout.decode(errors="surrogateescape") + done.stderr.decode(errors="replace")
    assert done.returncode == 0, f"{arguments}: {text[-2000:]}"
    return text


def listing(wim: Path, index: int = 1) -> dict[str, Listed]:
    text = run("wimlib-imagex", "dir", wim, index, "--detailed")
    blocks = re.split(r"^-{70,}\n", text, flags=re.MULTILINE)
    return dict(_listed(block) for block in blocks if "Full Path" in block)


def link_groups(wim: Path, index: int = 1) -> set[frozenset[str]]:
    groups: dict[str, set[str]] = {}
    for path, entry in listing(wim, index).items():
        if entry.link_count > 1:
            groups.setdefault(dict(entry.fields)["Link Group ID"], set()).add(path)
    return {frozenset(group) for group in groups.values()}


def xml(wim: Path) -> str:
    done = subprocess.run(
        ["wimlib-imagex", "info", str(wim), "--xml"], capture_output=True, check=True
    )
    return done.stdout.decode("utf-16")


def blob_references(wim: Path) -> dict[str, int]:
    text = run("wimlib-imagex", "info", wim, "--blobs")
    found = re.findall(r"Hash\s+= 0x(\w+).*?Reference Count\s+= (\d+)", text, flags=re.DOTALL)
    return {sha1: int(count) for sha1, count in found}


def accept(wim: Path) -> None:
    """Both judges read every byte, the integrity table included."""
    run("wimlib-imagex", "verify", wim)
    run("wimlib-imagex", "info", wim, "--check")
    assert "Everything is Ok" in run("7z", "t", wim)


def _listed(block: str) -> tuple[str, Listed]:
    fields: dict[str, str] = {}
    streams: list[tuple[str, str]] = []
    label = ""
    for line in _logical_lines(block):
        if (stream := re.match(r"\s*(Unnamed data stream|Reparse point stream)", line)) or (
            stream := re.match(r'\s*(Named data stream ".*")', line)
        ):
            label = stream.group(1)
        elif field := re.match(r"(\S[^=]*?)\s*= (.*)", line):
            name, value = field.groups()
            if name == "Hash":
                streams.append((label, value.removeprefix("0x")))
            elif not label:
                fields[name] = value
        elif line.strip() and not label and "is set" not in line:
            fields[line.strip()] = ""
    path = fields.pop("Full Path").strip('"').lstrip("/")
    count = int(fields.pop("Link Count"))
    return path, Listed(tuple(sorted(fields.items())), frozenset(streams), count)


def _logical_lines(block: str) -> Iterator[str]:
    yield from block.splitlines()
