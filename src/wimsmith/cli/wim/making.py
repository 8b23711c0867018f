"""What the commands that make WIM files share: their options, and what they say beforehand."""

import re
from typing import Annotated, Literal

from cyclopts import Parameter

from wimsmith.cli.output import counted, human_size, note, options, print_facts, print_json
from wimsmith.cli.wimfile import printable
from wimsmith.errors import InvalidInput
from wimsmith.offline.wim.format.codec import Compression
from wimsmith.offline.wim.writing.making import Announcement, Packing

Form = Literal["none", "xpress", "lzx", "lzms"]
Flag = Annotated[bool, Parameter(negative="")]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])(?:i?B)?", re.IGNORECASE)
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int:
    """Bytes in a size with its unit, for example `3800M`: K, M, G and T count by 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(f"size {text!r}", hint="Say a number with its unit, for example 3800M.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def parse_boot(text: str | None) -> int | None:
    """Number of the image to be bootable, 0 for `none`, None where nothing is said."""
    if text is None:
        return None
    if text.lower() == "none":
        return 0
    if not text.isascii() or not text.isdigit() or text == "0":
        raise InvalidInput(f"--boot {text}", hint="Say the number of an image, or none.")
    return int(text)


def packing_of(
    compress: Form | None,
    chunk_size: str | None,
    level: int | None,
    *,
    solid: bool,
    recompress: bool,
) -> Packing:
    return Packing(
        compression=None if compress is None else Compression(compress),
        chunk_bytes=None if chunk_size is None else parse_size(chunk_size),
        level=level,
        solid=solid,
        recompress=recompress,
    )


def announce(said: Announcement) -> None:
    """Say on stderr what will be done, unless JSON was asked for, whose report says it."""
    if not options.json:
        for name, value in _facts(said).items():
            note(f"{name}: {value}")


def show_plan(said: Announcement, more: dict[str, object] | None = None) -> None:
    """Print what would be done, as the answer of a dry run."""
    if options.json:
        from dataclasses import asdict  # noqa: PLC0415 - text needs it not

        print_json(asdict(said) | (more or {}))
        return
    print_facts({"target": str(said.target)} | _facts(said) | (more or {}))


def _facts(said: Announcement) -> dict[str, object]:
    images = ", ".join(
        printable(f"{one.number} {one.name}".strip())
        + (f" (index {one.source_number} of {one.source})" if _is_moved(one, said) else "")
        for one in said.images
    )
    facts: dict[str, object] = {"images": images or "none", "form": _form(said)}
    facts["copied as it is packed"] = _amount(said.copied_contents, said.copied_bytes)
    if said.converted_contents:
        why = "; ".join(said.reasons) or "new content"
        facts["packed anew"] = f"{_amount(said.converted_contents, said.converted_bytes)} ({why})"
    if said.left_out_contents:
        facts["left out"] = _amount(said.left_out_contents, said.left_out_bytes)
    if said.dropped_contents:
        facts["not needed"] = f"{counted(said.dropped_contents, 'content')} of the source"
    if said.memory_bytes and said.converted_contents:
        memory = human_size(said.memory_bytes)
        facts["work"] = f"{counted(said.workers, 'worker')} with about {memory} of memory in all"
    return facts


def _is_moved(image: object, said: Announcement) -> bool:
    return len({one.source for one in said.images}) > 1 or any(
        one.number != one.source_number for one in said.images if one is image
    )


def _form(said: Announcement) -> str:
    if said.compression is Compression.NONE:
        return "not compressed"
    kind = "solid " if said.solid else ""
    chunks = human_size(said.chunk_bytes)
    return f"{kind}{said.compression.upper()}, chunks of {chunks}, level {said.level}"


def _amount(count: int, size_bytes: int) -> str:
    return f"{counted(count, 'content')}, {human_size(size_bytes)}"
