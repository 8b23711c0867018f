"""What the commands on update files share: trusted roots, base texts, a place to work."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cryptography import x509
from cyclopts import Parameter

from wimsmith.cli.wimfile import open_file
from wimsmith.errors import InvalidInput, NotFound
from wimsmith.offline.components.store.basemanifest import base_texts
from wimsmith.offline.image import open_view
from wimsmith.offline.packages.deltas.dcm import base_manifest_candidates
from wimsmith.offline.packages.trust.following import TrustPolicy
from wimsmith.offline.packages.trust.roots import microsoft_anchors
from wimsmith.offline.packages.trust.signatures import Anchors
from wimsmith.offline.wim.format.container import naming

Roots = Annotated[tuple[Path, ...], Parameter(name="--root", negative="", consume_multiple=False)]
TestRoots = Annotated[
    tuple[Path, ...], Parameter(name="--test-root", negative="", consume_multiple=False)
]
_MAX_CERTIFICATE_BYTES = 1 << 20
_MAX_LIBRARY_BYTES = 64 << 20


@contextmanager
def workspace() -> Iterator[Path]:
    """A folder to expand packages in, below that of the environment variable TMPDIR."""
    with tempfile.TemporaryDirectory(prefix="wimsmith-") as folder:
        yield Path(folder)


def policy_of(roots: Sequence[Path], test_roots: Sequence[Path]) -> TrustPolicy:
    """Who is trusted: Microsoft, and the roots that the user names."""
    return TrustPolicy(
        microsoft=microsoft_anchors(),
        operator=_anchors(roots),
        test=_anchors(test_roots),
        allow_test_roots=bool(test_roots),
    )


def base_texts_of(image: Path | None, index: int | None, base: Path | None) -> tuple[bytes, ...]:
    """Base texts for compressed manifests: from the servicing stack of an image, or a file.

    Raises:
        InvalidInput: an index without an image.
        NotFound: there is no such text.
    """
    if index is not None and image is None:
        raise InvalidInput("--index without --image")
    found: tuple[bytes, ...] = ()
    if image is not None:
        with open_file(image) as wim, naming(image):
            found = base_texts(open_view(wim, 1 if index is None else index))
        if not found:
            raise NotFound(f"a servicing stack with a base text in index {index or 1} of {image}")
    if base is not None:
        found += _base_in(base)
    return found


def _base_in(path: Path) -> tuple[bytes, ...]:
    """The text in a file that is the text itself, or a library of a servicing stack."""
    if path.stat().st_size > _MAX_LIBRARY_BYTES:
        raise InvalidInput(f"{path} is too large for a base text")
    data = path.read_bytes()
    return tuple(base_manifest_candidates(data)) if data.startswith(b"MZ") else (data,)


def _anchors(files: Sequence[Path]) -> Anchors:
    return Anchors(tuple(one for path in files for one in _certificates(path)))


def _certificates(path: Path) -> list[x509.Certificate]:
    if path.stat().st_size > _MAX_CERTIFICATE_BYTES:
        raise InvalidInput(f"{path} is too large for a certificate")
    data = path.read_bytes()
    try:
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except ValueError:
        hint = "Give a file with certificates as PEM, or with one as DER."
        raise InvalidInput(f"{path} holds no certificate", hint=hint) from None
