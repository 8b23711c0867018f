"""Updates that must be refused, each for one reason."""

from collections.abc import Callable
from dataclasses import replace

from wimsmith.practice.maker import Maker, program
from wimsmith.practice.names import WINDOWS_TOKEN, Identity
from wimsmith.practice.spec import ComponentSpec, FileSpec, ParentSpec, UpdateEntry, UpdateSpec

SERVICE = (
    "<memberships><categoryMembership>"
    '<id name="Microsoft.Windows.Categories.Services" version="6.1.0.0" '
    'publicKeyToken="31bf3856ad364e35" typeName="Service" />'
    '<categoryInstance subcategory="practice"><serviceData name="practice" '
    'displayName="practice" errorControl="normal" imagePath="%SystemRoot%\\practice.exe" '
    'start="demand" type="win32OwnProcess" /></categoryInstance>'
    "</categoryMembership></memberships>"
)
CONFIGURATION = (
    '<configuration xmlns="urn:schemas-microsoft-com:asm.v3"><practice /></configuration>'
)


def advanced(maker: Maker, article: str, text: str) -> UpdateSpec:
    component = maker.component(f"Practice-Advanced-{article}", 300, advanced=text)
    if text is SERVICE:
        component = replace(component, memberships=())
    update = UpdateEntry(f"{article}-1", maker.deployment("Practice-Advanced", 300, component))
    return maker.update(article, maker.package(article, "1.0.0.0", update))


def with_driver(maker: Maker) -> UpdateSpec:
    driver = Identity(
        "practice-nic.inf", maker.version(300), token=WINDOWS_TOKEN, type="driverUpdate"
    )
    simple = maker.simple("KB5000012", "Practice-Driver-Host")
    entry = UpdateEntry("practice-driver", driver=driver)
    return maker.update("KB5000012", replace(simple, updates=(*simple.updates, entry)))


def wrong_architecture(maker: Maker) -> UpdateSpec:
    simple = maker.simple("KB5000016", "Practice-Other-Machine")
    identity = replace(simple.identity, architecture="arm64")
    parents = tuple(
        replace(
            parent,
            identities=tuple(replace(one, architecture="arm64") for one in parent.identities),
        )
        for parent in simple.parents
    )
    return maker.update("KB5000016", replace(simple, identity=identity, parents=parents))


def missing_parent(maker: Maker) -> UpdateSpec:
    parent = maker.parent("Practice-Absent-Package")
    return maker.update(
        "KB5000014", maker.simple("KB5000014", "Practice-Orphan", parents=(parent,))
    )


def wrong_build(maker: Maker) -> UpdateSpec:
    major, minor, build = maker.facts.numbers
    other = f"{major}.{minor}.{build + 1}.1"
    text = f"Microsoft-Windows-Foundation-Package~{WINDOWS_TOKEN}~amd64~~{other}"
    parent = ParentSpec((Identity.package(text),), compare={"buildCompare": "EQ"})
    return maker.update("KB5000015", maker.simple("KB5000015", "Practice-Later", parents=(parent,)))


def stack_too_old(maker: Maker) -> UpdateSpec:
    package = maker.simple("KB5000017", "Practice-Needs-Stack", stack_version=maker.version(9000))
    return maker.update("KB5000017", package)


def named(maker: Maker, article: str, identity_name: str, release_type: str) -> UpdateSpec:
    simple = maker.simple(article, f"Practice-{article}")
    identity = replace(simple.identity, name=identity_name, version=maker.version(300))
    return maker.update(article, replace(simple, identity=identity, release_type=release_type))


def stack(maker: Maker) -> UpdateSpec:
    version = maker.version(9000)
    component = ComponentSpec(
        Identity("Microsoft-Windows-ServicingStack", version, token=WINDOWS_TOKEN),
        (FileSpec("wcp.dll", program("new stack"), None),),
    )
    update = UpdateEntry("stack", maker.deployment("Practice-Stack", 9000, component))
    package = maker.package("KB5000020", "1.0.0.0", update)
    identity = replace(package.identity, name="Package_for_ServicingStack", version=version)
    return maker.update("KB5000020", replace(package, identity=identity))


def macro(maker: Maker) -> UpdateSpec:
    component = maker.component("Practice-Macro", 300)
    file = replace(component.files[0], destination="$(runtime.practiceUnknown)\\")
    update = UpdateEntry(
        "macro", maker.deployment("Practice-Macro", 300, replace(component, files=(file,)))
    )
    return maker.update("KB5000021", maker.package("KB5000021", "1.0.0.0", update))


def simple(article: str, **changes: object) -> Callable[[Maker], UpdateSpec]:
    """A preset that differs from an ordinary update only in how its file is made."""

    def make(maker: Maker) -> UpdateSpec:
        return maker.update(article, maker.simple(article, f"Practice-{article}"), **changes)

    return make


def package(article: str, **changes: object) -> Callable[[Maker], UpdateSpec]:
    """A preset that differs from an ordinary update only in its package."""

    def make(maker: Maker) -> UpdateSpec:
        return maker.update(article, maker.simple(article, f"Practice-{article}", **changes))

    return make


def service(maker: Maker) -> UpdateSpec:
    return advanced(maker, "KB5000010", SERVICE)


def configuration(maker: Maker) -> UpdateSpec:
    return advanced(maker, "KB5000011", CONFIGURATION)


def unknown_element(maker: Maker) -> UpdateSpec:
    return advanced(maker, "KB5000022", "<practiceInstaller />")


def language_pack(maker: Maker) -> UpdateSpec:
    name = "Microsoft-Windows-Client-LanguagePack-Package"
    return named(maker, "KB5000019", name, "Language Pack")


def service_pack(maker: Maker) -> UpdateSpec:
    return named(maker, "KB5000023", "Package_for_KB5000023", "Service Pack")


def hotpatch(maker: Maker) -> UpdateSpec:
    return named(maker, "KB5000024", "Package_for_Hotpatch_KB5000024", "Update")
