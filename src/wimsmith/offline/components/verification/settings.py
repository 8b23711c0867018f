"""Registry content of components in use: whether it is in the hives as their manifests have it.

Windows itself and its owner change such values all the time, so nothing here is more than a note.
"""

from wimsmith.errors import DamagedHive, DamagedInput, LimitExceeded, NotSupported
from wimsmith.offline.components.install.descriptions import places
from wimsmith.offline.components.install.macros import Expander, string_tables
from wimsmith.offline.components.install.registry import PlannedKey, plan_registry
from wimsmith.offline.components.store.lookups import Store
from wimsmith.offline.components.verification.report import Area, Findings
from wimsmith.offline.manifests.component import ComponentManifest


def check_settings(store: Store, key: str, manifest: ComponentManifest, findings: Findings) -> None:
    """Compare the registry values of one component in use with the hives."""
    if not manifest.registry_keys:
        return
    tables = string_tables(
        manifest.strings,
        component_language=manifest.identity.language,
        image_languages=store.image.languages,
    )
    try:
        expander = Expander(places(store, manifest.identity), tables)
        planned = plan_registry(store, manifest, expander)
    except (NotSupported, DamagedInput, LimitExceeded) as error:
        findings.add("registry-unknown", f"{key}: {error}", key)
        return
    for one in planned:
        _compare(store, key, one, findings)


def _compare(store: Store, component: str, planned: PlannedKey, findings: Findings) -> None:
    try:
        hive = store.draft.hive(planned.hive)
        for wanted in planned.values:
            findings.checked(Area.REGISTRY)
            found = hive.value(planned.path, wanted.value.name)
            about = f"{planned.hive}\\{planned.path}, value {wanted.value.name!r}: {component}"
            if found is None:
                findings.add("registry-missing", about, component)
            elif (found.type, found.data) != (wanted.value.type, wanted.value.data):
                findings.add("registry-changed", about, component)
    except DamagedHive as error:
        findings.add("registry-unknown", f"{component}: {error}", component)
