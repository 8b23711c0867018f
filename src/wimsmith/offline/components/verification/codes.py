"""Codes of findings: the area they belong to, how bad they are, what they mean, what to do.

A code is stable. Errors are what leads servicing astray; everything that stock images of Windows
have, or that an owner may have done on purpose, is a warning or a note.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_REPAIR = (
    "Service an image that is sound, or repair this one on Windows: "
    "dism /image:FOLDER /cleanup-image /restorehealth with a source of the same build."
)
_LOOK = "Nothing to do if you know why; else compare with the image that this one was made from."
_NOTHING = "Nothing to do."
_BOOT = "Start this Windows once and let it finish, then capture it again; or use another image."


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What a code says; `severity` and `area` are values of the enumerations of the report."""

    area: str
    severity: str
    text: str
    advice: str


def _error(area: str, text: str, advice: str = _REPAIR) -> CodeFacts:
    return CodeFacts(area, "error", text, advice)


def _warning(area: str, text: str, advice: str = _LOOK) -> CodeFacts:
    return CodeFacts(area, "warning", text, advice)


def _note(area: str, text: str, advice: str = _NOTHING) -> CodeFacts:
    return CodeFacts(area, "note", text, advice)


CODES: Mapping[str, CodeFacts] = MappingProxyType(
    {
        "hive-damaged": _error("hives", "A registry hive is broken"),
        "hive-readers-differ": _error("hives", "Two readers see different content in a hive"),
        "hive-missing": _error("hives", "A registry hive that Windows needs is not there"),
        "hive-dirty": _warning("hives", "A hive needs its transaction logs to be complete", _BOOT),
        "pending": _warning("pending", "Windows has work to finish on its next start", _BOOT),
        "image-damaged": _error("pending", "Windows has marked this installation as damaged"),
        "not-serviced": _note("pending", "A state in which updates are refused", _LOOK),
        "revision-differs": _warning(
            "build",
            "The build in the WIM's description is not the one in the registry",
            "Harmless to Windows; programs that read the description alone show the wrong build.",
        ),
        "package-manifest-missing": _error("packages", "A package's .mum file is not there"),
        "package-manifest-damaged": _error(
            "packages", "A package's .mum file cannot be read, or is that of another package"
        ),
        "package-catalog-missing": _error("packages", "A package's .cat file is not there"),
        "package-owner-missing": _error("packages", "The owner of a package is not known"),
        "package-deployment-missing": _error(
            "packages", "The deployment of an installed update is not in the store"
        ),
        "package-owners": _warning("packages", "A package has no owner"),
        "package-state": _warning("packages", "A package is in a state that is not known"),
        "package-index": _warning("packages", "PackageIndex names a package that is not there"),
        "package-not-indexed": _warning("packages", "An installed package is not in PackageIndex"),
        "package-unregistered": _warning("packages", "A .mum file of a package without a key"),
        "package-absent": _note("packages", "A package is listed as absent"),
        "package-staged": _note(
            "packages", "The deployment of an update that is not installed is not in the store"
        ),
        "deployment-identity": _error("deployments", "A deployment does not say what it is"),
        "deployment-component-missing": _error(
            "deployments", "A deployment has no component key of its own"
        ),
        "deployment-incomplete": _error(
            "deployments", "An installed deployment lists a component that is not there"
        ),
        "deployment-package-missing": _error(
            "deployments", "A deployment is held by a package that is not there"
        ),
        "deployment-catalog-missing": _error(
            "deployments", "A deployment names no catalog, or one that is not there"
        ),
        "deployment-update": _warning(
            "deployments", "A deployment is held by an update that its package does not have"
        ),
        "deployment-state": _warning(
            "deployments", "A deployment counts as installed, its package does not"
        ),
        "deployment-staged-incomplete": _warning(
            "deployments", "A staged deployment lists a component that is not there"
        ),
        "deployment-unreferenced": _note("deployments", "No package holds a deployment"),
        "deployment-language": _note(
            "deployments", "A deployment lists parts for languages by a wildcard: not followed"
        ),
        "catalog-missing": _error("catalogs", "A catalog of the store is not there"),
        "catalog-damaged": _error("catalogs", "A catalog is broken, or not the one of its name"),
        "catalog-incomplete": _error("catalogs", "No catalog lists a manifest of the store"),
        "catalog-deployment": _warning("catalogs", "A catalog is kept for a missing deployment"),
        "catalog-unregistered": _note("catalogs", "A catalog file that the store does not know"),
        "component-identity": _error(
            "components", "A component key does not say which component it is"
        ),
        "component-deployment-missing": _error(
            "components", "A component belongs to a deployment that is not there"
        ),
        "component-mark-missing": _error(
            "components", "A component does not name a deployment that lists it"
        ),
        "component-file-mark": _error("components", "A component key lacks the mark of a file"),
        "component-unowned": _warning("components", "A component belongs to no deployment"),
        "component-extra-file-mark": _warning(
            "components", "A component key marks a file that its manifest does not have"
        ),
        "manifest-missing": _error("manifests", "The manifest of a component is not there"),
        "manifest-hash": _error("manifests", "A manifest is not the one that the store states"),
        "manifest-damaged": _error("manifests", "A manifest cannot be read"),
        "manifest-base": _error(
            "manifests",
            "Compressed manifests cannot be expanded: no servicing stack has the base text",
        ),
        "manifest-identity": _error("manifests", "A manifest describes another component"),
        "manifest-no-hash": _warning("manifests", "The store states no hash of a manifest"),
        "manifest-unregistered": _note("manifests", "A manifest of a component without a key"),
        "payload-missing": _error("payload", "A payload file is not there"),
        "payload-hash": _error("payload", "A payload file is not what its manifest says"),
        "payload-unreadable": _error(
            "payload",
            "The WIM file has content that cannot be read",
            "Run wimsmith wim verify on the file, and take a sound copy of it.",
        ),
        "payload-deleted": _note("payload", "Payload that Windows deleted or never delivered"),
        "payload-compressed": _note("payload", "Payload of an older version, stored as a delta"),
        "payload-writeable": _note("payload", "A file that may change did change"),
        "payload-no-digest": _note("payload", "A manifest states no digest of a file"),
        "winner-missing": _error("winners", "A version that is in use is not in the store"),
        "winner-branch": _error("winners", "Winners names a version or branch that it lacks"),
        "winner-not-highest": _warning("winners", "A version is in use that is not the highest"),
        "winner-unlisted": _warning("winners", "An installed component is not among the winners"),
        "destination-missing": _warning("destinations", "A file in use is not in its place"),
        "destination-content": _warning(
            "destinations",
            "A file in its place is not the one in the store",
            "If nobody replaced it on purpose, sfc /scannow on the running system puts it right.",
        ),
        "destination-stale": _warning(
            "destinations", "A file in its place is that of another version than the one in use"
        ),
        "destination-copy": _note("destinations", "A file in its place is a copy, not a link"),
        "destination-other": _note(
            "destinations", "A file in its place is linked to another component"
        ),
        "destination-unknown": _note(
            "destinations", "A place that this program does not know: not followed"
        ),
        "backup-content": _warning("backups", "A backup copy is not the payload it is a copy of"),
        "backup-orphan": _note("backups", "A backup copy of no known component"),
        "registry-missing": _note("registry", "A value that a component brings is not there"),
        "registry-changed": _note("registry", "A value that a component brings has been changed"),
        "registry-unknown": _note(
            "registry", "Values whose place or meaning this program does not know: not followed"
        ),
        "orphan-folder": _note("orphans", "A folder of the store that belongs to no component"),
        "orphan-file": _note("orphans", "A file in the store that no manifest names"),
    }
)
"""By code, in the order in which they are told within one severity."""
