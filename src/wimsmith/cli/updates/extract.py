"""The command that extracts update files."""

from pathlib import Path

from wimsmith.cli.output import human_size, note, print_line, progress_bar, show
from wimsmith.cli.updates.common import base_texts_of
from wimsmith.cli.wimfile import printable
from wimsmith.offline.packages.extract import ExtractReport, Proof, extract_update
from wimsmith.offline.wim.format.container import naming

_SHOWN_NAMES = 10
_WORDS = {
    Proof.INDEX: "as the container index states",
    Proof.CATALOG: "listed by a catalog",
    Proof.MANIFEST: "with the digest of their manifest",
    Proof.LIST: "as the list of hashes states",
}


def extract(
    file: Path,
    target: Path,
    *,
    image: Path | None = None,
    index: int | None = None,
    base: Path | None = None,
) -> None:
    """Extract an update file into a new folder.

    Args:
        file: Update file (.cab, .msu).
        target: Folder to make; an existing one must be empty.
        image: WIM file of the Windows that the update is for: with a text from it, payload of
            compressed manifests is compared with them, too.
        index: Number of the image in that file; 1 if not given.
        base: File with that text, or the wcp.dll that holds it, instead of an image.
    """
    bases = base_texts_of(image, index, base)
    with naming(file), progress_bar() as progress:
        report = extract_update(file, target, base_manifests=bases, progress=progress)
    show(report, lambda: _tell(report))


def _tell(report: ExtractReport) -> None:
    text = f"{report.target}: {report.files} files, {human_size(report.size_bytes)}"
    print_line(f"{printable(text)}, {report.duration_s:.1f} s")
    for name in report.folders:
        print_line(f"  {printable(name)}")
    proofs = [f"{report.proofs[one]} {_WORDS[one]}" for one in Proof if one in report.proofs]
    if proofs:
        print_line(f"proved: {', '.join(proofs)}")
    if report.unproved:
        count = len(report.unproved)
        note(f"nothing states a digest of {count} {'file' if count == 1 else 'files'}:")
        for name in report.unproved[:_SHOWN_NAMES]:
            note(f"  {printable(name)}")
        if len(report.unproved) > _SHOWN_NAMES:
            note("  ... `--json` names all")
