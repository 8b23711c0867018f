"""The practice root: a certificate authority of its own for every folder.

A key that came with the package would be known to everybody, and a site that trusts it would trust
everybody. So the keys are made once per folder and kept there; whoever trusts a practice root
trusts what was generated in that folder, and nothing else.
"""

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT_FILE = "practice-root.pem"
KEY_FILE = "practice-root.key"
_KEY_BITS = 2048
_FROM = datetime(2000, 1, 1, tzinfo=UTC)
_UNTIL = datetime(2099, 12, 31, tzinfo=UTC)


@dataclass(frozen=True)
class PracticeRoot:
    """Keys of a root and of a signer below it; certificates are computed, always alike."""

    root_key: rsa.RSAPrivateKey
    signer_key: rsa.RSAPrivateKey
    name: str = "Wimsmith practice root (worthless)"

    @classmethod
    def new(cls, name: str = "Wimsmith practice root (worthless)") -> "PracticeRoot":
        """Make new keys; takes a second or so."""
        return cls(_new_key(), _new_key(), name)

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The root certificate, which operators may choose to trust."""
        builder = _builder(self.name, self.name, 1, self.root_key.public_key())
        limits = x509.BasicConstraints(ca=True, path_length=0)
        authority = builder.add_extension(limits, True).add_extension(_usage(ca=True), True)
        return authority.sign(self.root_key, hashes.SHA256())

    @cached_property
    def signer(self) -> x509.Certificate:
        """The certificate that signs catalogs."""
        builder = _builder("Wimsmith practice signer", self.name, 2, self.signer_key.public_key())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
        limits = x509.BasicConstraints(ca=False, path_length=None)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root_key.public_key())
        for extension, critical in ((usage, False), (limits, True), (issuer, False)):
            builder = builder.add_extension(extension, critical)
        return builder.add_extension(_usage(ca=False), True).sign(self.root_key, hashes.SHA256())

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root certificate in hexadecimal: what trust settings name."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def practice_root(folder: Path) -> PracticeRoot:
    """The practice root of `folder`: read, or made when the folder has none.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the key file is not one that this function wrote.
    """
    path = folder / KEY_FILE
    if not path.exists():
        _save_new(folder)
    keys = [_load_key(block) for block in _pem_blocks(path.read_bytes())]
    if len(keys) != 2:
        raise ValueError(f"{path}: {len(keys)} keys instead of two")
    root = PracticeRoot(root_key=keys[0], signer_key=keys[1])
    if not (folder / ROOT_FILE).exists():
        (folder / ROOT_FILE).write_bytes(root.pem)
    return root


def _save_new(folder: Path) -> None:
    """Make keys; whoever is first wins, should several processes do so at once."""
    folder.mkdir(parents=True, exist_ok=True)
    root = PracticeRoot.new()
    descriptor, name = tempfile.mkstemp(prefix=f"{KEY_FILE}.", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_key_pem(root.root_key) + _key_pem(root.signer_key))
        with suppress(FileExistsError):
            (folder / KEY_FILE).hardlink_to(name)
    finally:
        Path(name).unlink()


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)


def _key_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _pem_blocks(data: bytes) -> list[bytes]:
    end = b"-----END PRIVATE KEY-----\n"
    return [block + end for block in data.split(end) if block.strip()]


def _load_key(block: bytes) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(block, None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("not an RSA key")  # noqa: TRY004 - the file, not the type, is wrong
    return key


def _builder(
    subject: str, issuer: str, serial: int, key: rsa.RSAPublicKey
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=_name(issuer),
        subject_name=_name(subject),
        public_key=key,
        serial_number=serial,
        not_valid_before=_FROM,
        not_valid_after=_UNTIL,
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Wimsmith practice"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )
