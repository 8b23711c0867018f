"""Updates that a practice image takes."""

from dataclasses import replace

from wimsmith.practice.baseline import GAMES_FEATURE, PRINTING_FEATURE, shell
from wimsmith.practice.everything import every_element_package
from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import WINDOWS_TOKEN, Identity
from wimsmith.practice.refused import wrong_architecture
from wimsmith.practice.spec import (
    Applicable,
    ComponentSpec,
    Container,
    Content,
    DeploymentSpec,
    FileSpec,
    KeySpec,
    PackageSpec,
    ParentSpec,
    UpdateEntry,
    UpdateSpec,
    ValueSpec,
)

_VERSION_KEY = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion"


def rollup(maker: Maker) -> UpdateSpec:
    """A cumulative update: raises UBR and replaces the shell."""
    return _rollup(maker, "KB5000001", 500)


def wim_rollup(maker: Maker) -> UpdateSpec:
    """The same kind of package in a WIM container, as differentials."""
    return replace(_rollup(maker, "KB5000041", 700), container=Container.WIM)


def second_rollup(maker: Maker) -> UpdateSpec:
    """The next version of the same package."""
    return _rollup(maker, "KB5000002", 600)


def _rollup(maker: Maker, article: str, revision: int) -> UpdateSpec:
    version = maker.version(revision)
    build, ubr = (int(part) for part in version.split(".")[2:])
    value = ValueSpec("UBR", "REG_DWORD", f"0x{ubr:08x}", operation_hint="replace")
    stamp = maker.component(
        "Practice-Windows-Build", revision, keys=(KeySpec(_VERSION_KEY, (value,), None),)
    )
    deployment = maker.deployment("Practice-Rollup", revision, shell(version), stamp)
    update = UpdateEntry(f"{article.removeprefix('KB')}-1_neutral", deployment)
    child = maker.package(article, f"{build}.{ubr}.1.0", update, visible=False)
    child = replace(child, identity=replace(child.identity, name=f"Package_1_for_{article}"))
    top = maker.package(article, f"{build}.{ubr}.1.0", UpdateEntry("Rollup", child=child))
    top = replace(
        top,
        identity=replace(top.identity, name="Package_for_RollupFix"),
        release_type="Security Update",
        stack_version=maker.facts.full_version,
    )
    return maker.update(article, top, container=Container.MSU)


def feature_update(maker: Maker) -> UpdateSpec:
    """Two language parts that follow two features of the image: one on, one off."""
    entries = []
    for feature in (PRINTING_FEATURE, GAMES_FEATURE):
        language = "en-US"
        file = FileSpec(
            f"{feature}.exe.mui",
            program(f"{feature} mui", 3000),
            f"$(runtime.programFiles)\\{feature}\\{language}\\",
        )
        version = maker.facts.full_version
        part = ComponentSpec(
            Identity(f"{feature}-Component.Resources", version, language=language), (file,)
        )
        deployment = DeploymentSpec(
            Identity(f"{feature}-Deployment-LanguagePack", version, language=language), (part,)
        )
        rule = Applicable("staged", follow_parent=feature)
        entries.append(UpdateEntry(feature, deployment, applicable=rule))
    package = maker.package("KB5000003", maker.facts.full_version, *entries)
    identity = Identity.package(
        f"Practice-Optional-Package~{WINDOWS_TOKEN}~amd64~en-US~{maker.facts.full_version}"
    )
    parents = (
        replace(maker.parent("Practice-Optional-Package"), disposition="staged", compare={}),
    )
    package = replace(package, identity=identity, parents=parents, release_type="Language Pack")
    return maker.update("KB5000003", package)


def branches(maker: Maker) -> UpdateSpec:
    """Two branches of one family: the first only for images that have it already."""
    family = "Practice-Branch-Library"
    entries = []
    for number, (revision, rule) in enumerate(((900, "revision"), (300, "install")), 1):
        component = maker.component(family, revision)
        deployment = maker.deployment(f"Practice-Branch-{rule}", revision, component)
        applicable = Applicable("staged", elevate=((rule, (component.identity,)),))
        entries.append(UpdateEntry(f"5000004-{number}_neutral", deployment, applicable=applicable))
    return maker.update("KB5000004", maker.package("KB5000004", "1.0.0.0", *entries))


def container_index(maker: Maker) -> UpdateSpec:
    """Two branches whose files are stored as deltas and copies, with the twin that forces one."""
    general, limited = (_branch(maker, name, revision) for name, revision in _BRANCHES)
    article = "KB5000040"
    forced = maker.package(article, "1.0.0.0", replace(limited, applicable=None))
    identity = replace(forced.identity, name=f"{forced.identity.name}_BF")
    return maker.update(
        article,
        maker.package(article, "1.0.0.0", limited, general),
        indexed=True,
        branch_forward=replace(forced, identity=identity, identifier=f"{article}_BF"),
        trailing_bytes=8848,
    )


_BRANCHES = (("GDR", 300), ("LDR", 900))


def _branch(maker: Maker, branch: str, revision: int) -> UpdateEntry:
    """A library and its twin of the same bytes, which differ little from branch to branch."""
    text = "".join(f"entry {number} of the library\r\n" for number in range(300))
    data = text.replace("entry 200", f"entry 200 as of {branch}").encode()
    components = [
        ComponentSpec(
            Identity(name, maker.version(revision)),
            (FileSpec("indexed.dll", Content(data=data), f"$(runtime.system32)\\{folder}\\"),),
        )
        for name, folder in (("Practice-Indexed", "first"), ("Practice-Indexed-Twin", "second"))
    ]
    deployment = maker.deployment(f"Practice-Indexed-{branch}", revision, *components)
    rule = "install" if branch == "GDR" else "revision"
    identities = tuple(component.identity for component in components)
    number = 2 if branch == "GDR" else 1
    return UpdateEntry(
        f"5000040-{number}_neutral_{branch}",
        deployment,
        applicable=Applicable("staged", elevate=((rule, identities),)),
    )


def trigger(maker: Maker) -> UpdateSpec:
    """An update that follows another one of the same package."""
    first = maker.component("Practice-Trigger", 300)
    second = maker.component("Practice-Triggered", 300)
    rule = Applicable("staged", elevate=(("install", (first.identity,)),))
    entries = (
        UpdateEntry("Trigger_1", maker.deployment("Practice-Trigger", 300, first), applicable=rule),
        UpdateEntry(
            "5000008-1_neutral",
            maker.deployment("Practice-Triggered", 300, second),
            applicable=Applicable("staged", follow_self="Trigger_1"),
        ),
    )
    return maker.update("KB5000008", maker.package("KB5000008", "1.0.0.0", *entries))


def languages(maker: Maker) -> UpdateSpec:
    """A neutral part, and parts for languages of which the image has only one."""
    entries = [
        UpdateEntry("Neutral", child=_hidden(maker, "Package_1_for_KB5000005", maker.parent()))
    ]
    for language in ("de-DE", "en-US", "ja-JP"):
        parent = maker.parent("Microsoft-Windows-Client-LanguagePack-Package", language)
        child = _hidden(maker, f"Package_for_KB5000005_{language}", parent, language)
        entries.append(UpdateEntry(language, child=child))
    package = maker.package("KB5000005", "1.0.0.0", *entries)
    return maker.update("KB5000005", package)


def _hidden(maker: Maker, name: str, parent: ParentSpec, language: str = "neutral") -> PackageSpec:
    version = maker.version(300)
    folder = "$(runtime.system32)\\" + ("" if language == "neutral" else f"{language}\\")
    component = ComponentSpec(
        Identity("Practice-Many-Languages", version, language=language),
        (FileSpec(f"many-{language}.dll", program(f"many {language}"), folder),),
    )
    deployment = DeploymentSpec(
        Identity(f"Practice-Many-{language}-Deployment", version, language=language), (component,)
    )
    identity = Identity(name, "1.0.0.0", "amd64", language, WINDOWS_TOKEN, "")
    update = UpdateEntry(f"many-{language}", deployment)
    return PackageSpec(identity, (update,), (parent,), identifier="KB5000005", visible=False)


def every_element(maker: Maker) -> UpdateSpec:
    package = every_element_package(maker.version(300), "en-US", (maker.parent(),))
    return maker.update("KB5000100", package, trailing_bytes=8848)


def several(maker: Maker) -> UpdateSpec:
    """A `.msu` with three packages: one is for another machine, one needs the one before it."""
    first = maker.simple("KB5000042", "Practice-First")
    needed = ParentSpec((first.identity,), compare={"buildCompare": "EQ", "revisionCompare": "GE"})
    second = maker.simple("KB5000043", "Practice-Second", parents=(needed,))
    parts = (wrong_architecture(maker), maker.update("KB5000042", first))
    return maker.update("KB5000043", second, container=Container.MSU, parts=parts)
