"""The container index: read whole and consistent, or refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.packages.madeindex import FIRST, SECOND, Entry, MadeIndex, digest, made_index
from wimsmith.errors import DamagedPackage, LimitExceeded, UnsafePath, WimsmithError
from wimsmith.offline.packages.containers.containerindex import (
    ContainerType,
    IndexHash,
    Recipe,
    Source,
    SourceKind,
    ordered,
    parse_container_index,
)
from wimsmith.offline.packages.limits import PackageLimits


def test_what_an_index_says_of_a_file() -> None:
    index = parse_container_index(made_index(algorithm="SHA256").xml())
    assert (index.name, index.type, index.locations) == ("made.cab", ContainerType.CABINET, ())
    files = {file.id: file for file in index.files}
    assert [file.id for file in index.files] == [9, 8, 7, 5, 4, 3]
    second = files[4]
    assert (second.name, second.size_bytes) == ("made/second.dll", len(SECOND))
    assert (second.written, second.attributes) == (130818897022739288, 32)
    assert second.hash == IndexHash("sha256", bytes.fromhex(digest(SECOND, "SHA256")))
    (recipe,) = second.recipes
    assert (recipe.basis, recipe.is_outside) == (3, False)
    assert recipe.source is not None
    assert (recipe.source.kind, recipe.source.member) == (SourceKind.PA30, "1")
    assert files[8].recipes == (Recipe(basis=4),)
    assert index.total_bytes == 3 * len(SECOND) + len(FIRST) + len(b"<a/>")


def test_an_index_of_a_stream() -> None:
    data = (
        '<Container name="a.psf" type="PSF" length="9" version="1" xmlns="urn:ContainerIndex">'
        '<DeltaBasisSearch><Location id="0" path="{windir}\\winsxs" flags="2000001"/>'
        '</DeltaBasisSearch><Files><File id="0" name="a\\f\\b.dll" length="5">'
        f'<Hash alg="SHA256" value="{digest(b"x", "SHA256").upper()}"/>'
        '<Delta><Source type="CIX_SOURCE_RAW" offset="4294967296" length="5"/></Delta>'
        '<Delta><Source type="PA30" offset="1" length="2"/><Basis loc="0"/></Delta>'
        "</File></Files></Container>"
    )
    index = parse_container_index(data.encode())
    assert index.type is ContainerType.STREAM
    assert [(one.path, one.flags) for one in index.locations] == [("{windir}\\winsxs", "2000001")]
    (file,) = index.files
    assert file.hash.digest == bytes.fromhex(digest(b"x", "SHA256"))
    assert file.recipes == (
        Recipe(Source(SourceKind.RAW, offset=1 << 32, size_bytes=5)),
        Recipe(Source(SourceKind.PA30, offset=1, size_bytes=2), is_outside=True),
    )


def test_the_stronger_of_two_digests_counts_and_those_of_parts_do_not() -> None:
    entry = Entry("1", "a", b"x", member="0")
    entry.more = (
        f'<Hash alg="SHA256" value="{digest(b"x", "SHA256")}"/>'
        f'<Hash alg="SHA256" value="{digest(b"y", "SHA256")}" offset="1"/><Hash alg="CRC32"/>'
    )
    (file,) = parse_container_index(MadeIndex([entry]).xml()).files
    assert file.hash == IndexHash("sha256", bytes.fromhex(digest(b"x", "SHA256")))


def changed(**changes: str | None) -> MadeIndex:
    """The made index with one field of the file 4 changed."""
    index = made_index()
    for name, value in changes.items():
        setattr(index.entries[4], name, value)
    return index


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        (changed(id=None), "id="),
        (changed(id="-1"), "id='-1'"),
        (changed(id="4.0"), "id='4.0'"),
        (changed(id="٤"), "id='٤'"),  # a digit, and not one of ASCII
        (changed(id="9"), "two files with the id 9"),
        (changed(length=""), "length="),
        (changed(length="99999999999999999999"), "length="),
        (changed(time="soon"), "time='soon'"),
        (changed(attr="0x20"), "attr='0x20'"),
        (changed(value="abc"), "no hexadecimal"),
        (changed(value="abcd"), "digest of 2 bytes"),
        (changed(source_value="xy"), "no hexadecimal"),
        (changed(algorithm="MD5"), "no SHA-1 or SHA-256"),
        (changed(kind="PA99"), "type of source 'PA99'"),
        (changed(member=None, basis=None), "without source and basis"),
        (changed(basis="77"), "made from a file 77, which is not there"),
        (changed(name="update.mum"), "two files with one name"),
        (changed(name="MADE\\First.dll"), "two files with one name"),
        (changed(name="update.mum\\a"), "two files with one name"),
        (changed(more="<Delta><Source type='RAW'/><Source type='RAW'/></Delta>"), "two sources"),
        (changed(more="<Delta><Basis file='3'/><Basis file='3'/></Delta>"), "two bases"),
    ],
)
def test_indexes_that_contradict_themselves_are_damage(index: MadeIndex, sentence: str) -> None:
    with pytest.raises(DamagedPackage, match=sentence):
        parse_container_index(index.xml())


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..\\evil",
        "a\\..\\..\\b",
        "\\absolute",
        "C:\\b",
        "a\\",
        "nul",
        "a\\con.txt",
        "a:b",
        "x.",
    ],
)
def test_names_that_leave_or_that_windows_could_not_hold(name: str) -> None:
    with pytest.raises(UnsafePath):
        parse_container_index(changed(name=name).xml())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<Container/>",
        b'<Container xmlns="urn:Other" type="CAB"/>',
        b'<Files xmlns="urn:ContainerIndex"/>',
        b'<Container xmlns="urn:ContainerIndex" type="ZIP"/>',
        b'<Container xmlns="urn:ContainerIndex" type="CAB"><Files>',
        b'<!DOCTYPE a><Container xmlns="urn:ContainerIndex" type="CAB"/>',
        b'<!DOCTYPE a [<!ENTITY b "b">]><Container xmlns="urn:ContainerIndex" name="&b;"/>',
        MadeIndex([Entry("1", "a")]).xml().replace(b"<Delta></Delta>", b""),
    ],
)
def test_what_is_no_index_is_damage(data: bytes) -> None:
    with pytest.raises(DamagedPackage):
        parse_container_index(data)


@pytest.mark.parametrize(
    ("limits", "index"),
    [
        (PackageLimits(files=5), made_index()),
        (PackageLimits(file_bytes=len(SECOND) - 1), made_index()),
        (PackageLimits(total_bytes=3 * len(SECOND)), made_index()),
        (PackageLimits(), changed(more="<Delta><Basis file='3'/></Delta>" * 64)),
        (
            PackageLimits(),
            MadeIndex([], search=f"<DeltaBasisSearch>{'<Location/>' * 1001}</DeltaBasisSearch>"),
        ),
        (PackageLimits(), MadeIndex([], search="<a>" * 65 + "</a>" * 65)),
    ],
)
def test_asking_for_too_much(limits: PackageLimits, index: MadeIndex) -> None:
    with pytest.raises(LimitExceeded):
        parse_container_index(index.xml(), limits=limits)


def of_order(pairs: dict[int, int | None]) -> list[int]:
    entries = [Entry(str(number), f"f{number}", b"", member="0") for number in pairs]
    files = parse_container_index(MadeIndex(entries).xml()).files
    bases = {number: basis for number, basis in pairs.items() if basis is not None}
    return [file.id for file in ordered(files, bases)]


def test_bases_come_before_what_is_made_from_them() -> None:
    assert of_order({1: 2, 2: 3, 3: None, 4: 2}) == [3, 2, 1, 4]


@pytest.mark.parametrize("circle", [{1: 1}, {1: 2, 2: 1}, {0: 1, 1: 2, 2: 3, 3: 1}])
def test_circles_are_damage(circle: dict[int, int | None]) -> None:
    with pytest.raises(DamagedPackage, match="made from itself"):
        of_order(circle)


@given(st.lists(st.integers(0, 30), max_size=30))
def test_any_graph_is_ordered_or_refused(bases: list[int]) -> None:
    count = len(bases)
    pairs = {number: basis if basis < count else None for number, basis in enumerate(bases)}
    try:
        found = of_order(pairs)
    except DamagedPackage:
        followed = set(pairs)
        for _step in pairs:
            followed = {pairs[one] for one in followed if pairs[one] is not None}  # type: ignore[misc]
        assert followed
        return
    assert sorted(found) == sorted(pairs)
    places = {number: place for place, number in enumerate(found)}
    assert all(basis is None or places[basis] < places[one] for one, basis in pairs.items())


def test_a_long_chain_needs_no_deep_stack() -> None:
    count = 5_000
    last = count - 1
    found = of_order({number: number + 1 if number < last else None for number in range(count)})
    assert found[0] == last


@given(st.binary(max_size=200))
def test_any_bytes_give_an_index_or_our_error(data: bytes) -> None:
    inside = b'<Container xmlns="urn:ContainerIndex" type="CAB"><Files>%s</Files></Container>'
    for document in (data, inside % data):
        try:
            parse_container_index(document)
        except WimsmithError:
            continue
