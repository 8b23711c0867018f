"""Package manifests as plain data, with what planning asks of them and nothing else.

Texts that are only shown (names, descriptions, copyright) are left out, and so are drivers and
unknown elements, which are findings of the update by then.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.package import (
    Applicable,
    ChildPackage,
    Compare,
    DetectUpdate,
    PackageManifest,
    Parent,
    Selectable,
    Update,
    UpdateComponent,
)
from wimsmith.offline.planning.plaindata import flag, listed, maybe_flag, text, texts

_COMPARED = ("version", "service", "build", "distribution", "revision")
_PARENT_TEXTS = ("disposition", "integrate", "set_name")
_MANIFEST_TEXTS = ("identifier", "release_type", "permanence", "target_edition")


def identity_data(identity: AssemblyIdentity) -> list[str]:
    """An identity as a list of texts; those at the end that are empty are left out."""
    parts = [
        identity.name,
        str(identity.version),
        identity.architecture,
        identity.language,
        identity.public_key_token,
        identity.version_scope,
        identity.type,
        identity.build_type,
    ]
    while not parts[-1]:
        parts.pop()
    return parts


def identity_from(data: Sequence[str]) -> AssemblyIdentity:
    """The identity that `identity_data` wrote."""
    name, version, *others = texts(data)
    return AssemblyIdentity(name, Version.parse(version), *others)


def manifest_data(manifest: PackageManifest) -> dict[str, Any]:
    """A package manifest as plain data."""
    installer = manifest.installer_assembly
    return _filled(
        {
            "identity": identity_data(manifest.identity),
            **{name: getattr(manifest, name) for name in _MANIFEST_TEXTS},
            "parents": [_parent_data(one) for one in manifest.parents],
            "installer": identity_data(installer) if installer else None,
            "updates": [_update_data(one) for one in manifest.updates],
            "offline": manifest.completely_offline_capable,
        }
    )


def manifest_from(data: Mapping[str, Any]) -> PackageManifest:
    """The manifest that `manifest_data` wrote.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not what that writes.
        DamagedManifest: a version is none.
    """
    installer = data.get("installer")
    return PackageManifest(
        identity=identity_from(data["identity"]),
        **_texts_from(data, _MANIFEST_TEXTS),
        parents=tuple(_parent_from(one) for one in listed(data.get("parents", ()))),
        installer_assembly=identity_from(installer) if installer else None,
        updates=tuple(_update_from(one) for one in listed(data.get("updates", ()))),
        completely_offline_capable=maybe_flag(data.get("offline")),
    )


def _parent_data(parent: Parent) -> dict[str, Any]:
    texts = {name: getattr(parent, name) for name in _PARENT_TEXTS}
    compared = "".join(getattr(parent, f"{part}_compare").value for part in _COMPARED)
    identities = [identity_data(one) for one in parent.identities]
    return _filled({**texts, "compared": compared, "identities": identities})


def _parent_from(data: Mapping[str, Any]) -> Parent:
    compared = data["compared"]
    rules = {
        f"{part}_compare": Compare(compared[2 * place : 2 * place + 2])
        for place, part in enumerate(_COMPARED)
    }
    return Parent(
        identities=_identities(data["identities"]),
        **_texts_from(data, _PARENT_TEXTS),
        **rules,
    )


def _update_data(update: Update) -> dict[str, Any]:
    applicable, selectable = update.applicable, update.selectable
    return _filled(
        {
            "name": update.name,
            "packages": [
                [identity_data(one.identity), one.integrate, one.contained]
                for one in update.packages
            ],
            "components": [identity_data(one) for one in update.components],
            "applicable": _applicable_data(applicable) if applicable else None,
            "selectable": [selectable.disposition, selectable.default] if selectable else None,
        }
    )


def _update_from(data: Mapping[str, Any]) -> Update:
    applicable, selectable = data.get("applicable"), data.get("selectable")
    return Update(
        name=text(data.get("name", "")),
        packages=tuple(
            ChildPackage(identity_from(identity), text(integrate), maybe_flag(contained))
            for identity, integrate, contained in listed(data.get("packages", ()))
        ),
        components=_identities(data.get("components", ())),
        applicable=None if applicable is None else _applicable_from(applicable),
        selectable=None if selectable is None else _selectable_from(selectable),
    )


def _selectable_from(data: Sequence[Any]) -> Selectable:
    disposition, default = listed(data)
    return Selectable(text(disposition), maybe_flag(default))


def _applicable_data(applicable: Applicable) -> dict[str, Any]:
    return {
        "disposition": applicable.disposition,
        "components": [
            [one.elevate, [identity_data(identity) for identity in one.identities]]
            for one in applicable.components
        ],
        "detections": [[one.name, one.in_parent] for one in applicable.detections],
    }


def _applicable_from(data: Mapping[str, Any]) -> Applicable:
    return Applicable(
        disposition=text(data["disposition"]),
        components=tuple(
            UpdateComponent(text(elevate), _identities(identities))
            for elevate, identities in listed(data["components"])
        ),
        detections=tuple(
            DetectUpdate(text(name), flag(in_parent))
            for name, in_parent in listed(data["detections"])
        ),
    )


def _identities(data: Sequence[Sequence[str]]) -> tuple[AssemblyIdentity, ...]:
    return tuple(identity_from(one) for one in listed(data))


def _texts_from(data: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: text(data.get(name, "")) for name in names}


def _filled(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value not in ("", None, [])}
