"""What files are that people take for updates and that are none, by how they begin."""

from pathlib import Path

_HEAD_BYTES = 1 << 16
_ISO_MARK_AT = 0x8001
_VHD_MARK_BYTES = 512
_BEGINNINGS = (
    (b"regf", "a registry hive"),
    (b"DCM\x01", "a compressed manifest out of an image or package"),
    (b"PA30", "a delta (PA30) out of a package"),
    (b"PA31", "a delta (PA31) out of a package"),
    (b"PA19", "a delta (PA19) out of a package"),
    (b"0\x82", "a security catalog, a certificate or another signed message"),
    (b"0\x83", "a security catalog or another signed message"),
    (b"\x7fELF", "a program for Linux"),
    (b"vhdxfile", "a virtual disk (VHDX)"),
    (b"conectix", "a virtual disk (VHD)"),
    (b"QFI\xfb", "a virtual disk (QCOW2)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xfd7zXZ\0", "an XZ archive"),
    (b"BZh", "a bzip2 archive"),
    (b"Rar!", "a RAR archive"),
    (b"SZDD", "a file compressed with COMPRESS.EXE"),
    (b"%PDF", "a PDF document"),
)
_WORDS = (
    ("[version]", "a driver description (INF); drivers are added as drivers"),
    ("<!doctype html", "a web page, perhaps of a download that failed"),
    ("<html", "a web page, perhaps of a download that failed"),
    ("urn:schemas-microsoft-com:asm.v3", "a manifest out of an image or package"),
    ("urn:schemas-microsoft-com:unattend", "an answer file"),
    ("<?xml", "an XML document"),
)
_ENCODINGS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def stranger(path: Path) -> str:
    """What a file is that is no update, as part of a sentence; empty if it is not known.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(_ISO_MARK_AT)
        if file.read(5) == b"CD001":
            return "a disc image (ISO)"
        file.seek(max(0, path.stat().st_size - _VHD_MARK_BYTES))
        if file.read(8) == b"conectix":
            return "a virtual disk (VHD)"
    for beginning, name in _BEGINNINGS:
        if head.startswith(beginning):
            return name
    text = _text(head)
    return next((name for word, name in _WORDS if word in text), "")


def _text(head: bytes) -> str:
    """The text that a file begins with; empty for what is no text, which may well hold some."""
    for mark, encoding in _ENCODINGS:
        if head.startswith(mark):
            return head[2:].decode(encoding, "replace").lower()
    return "" if b"\0" in head else head.decode("latin-1").lower()
