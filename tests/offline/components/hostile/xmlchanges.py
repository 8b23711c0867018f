"""Manifests changed by someone who knows what is in them: they stay XML, and say something else."""

import random
from xml.etree.ElementTree import Element, ParseError, fromstring, tostring

WORDS = (
    *("", "0", "-1", "1", "4294967296", "true", "maybe", "*", "neutral", "amd64", "x86", "wow64"),
    *("99999.1.2.3", "1.0.0.0", "10.0.19041.1", "1.2.3", "65536.0.0.0", "en-US", "win32"),
    *("win32-policy", "nonSxS", "dualModeDriver", "..\\..\\x", "CON", "a:b", "x" * 3000, "\u0130"),
    *("$(string.x)", "$(runtime.system32)\\", "$(build.arch)", "$(runtime.nowhere)\\", "C:\\"),
    *("\\\\server\\share", "HKEY_LOCAL_MACHINE\\SOFTWARE", "HKEY_USERS\\.DEFAULT", "HKEY_X\\y"),
    *("HKEY_CLASSES_ROOT\\CLSID\\{0}", "REG_QWORD", "REG_MULTI_SZ", "REG_BINARY", "00020001"),
    *("O:SYG:SYD:P(A;;FA;;;SY)", "D:(A;;GA;;;ZZ)", "(inherit)", "replace", "append", "merge"),
    *("install", "staged", "Staged", "absent", "detect", "hidden", "visible", "permanent", "GE"),
    *("EQ", "revision", "distribution", "Language Pack", "OnDemand Pack", "sha1", "!" * 64),
    *("abc=", "31bf3856ad364e35", "0123456789abcdef", "Microsoft-Windows-Foundation-Package"),
)
_ODD_ELEMENTS = ("unknown", "file", "registryKey", "assemblyIdentity", "update", "package", "link")
_DEPTH = 400
_CROWD = 3_000


def changed(data: bytes, chance: random.Random) -> bytes:
    """A manifest with one to four changes of structure, or the bytes as they are if not XML."""
    try:
        root = fromstring(data)
    except (ParseError, ValueError):
        return data
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        _change(root, chance)
    made: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return made


def _change(root: Element, chance: random.Random) -> None:
    elements = list(root.iter())
    chance.choice(_CHANGES)(chance.choice(elements), elements, chance)


def _other_value(one: Element, elements: list[Element], chance: random.Random) -> None:
    """Give an attribute a value that others of its name have, or any other."""
    if not one.attrib:
        return
    name = chance.choice(list(one.attrib))
    alike = [other.attrib[name] for other in elements if name in other.attrib]
    words = chance.choice((alike, WORDS, [_bent(one.attrib[name], chance)]))
    one.set(name, chance.choice(words))


def _bent(text: str, chance: random.Random) -> str:
    """A text with one character more, less or other, or in another case."""
    at = chance.randrange(len(text) + 1)
    more = chance.choice(("", "0", "\\", "$(", "..", ",", ";", "\u00e9", "~", "\ud7ff"))
    return chance.choice(
        (text[:at] + more + text[at:], text[:at] + text[at + 1 :], text.upper(), text * 3)
    )


def _without_attribute(one: Element, _elements: list[Element], chance: random.Random) -> None:
    if one.attrib:
        del one.attrib[chance.choice(list(one.attrib))]


def _more_attributes(one: Element, elements: list[Element], chance: random.Random) -> None:
    known = list(chance.choice(elements).attrib)
    one.set(chance.choice([*known, "unheardOf"]), chance.choice(WORDS))


def _attributes_swapped(one: Element, elements: list[Element], chance: random.Random) -> None:
    other = chance.choice(elements)
    one.attrib, other.attrib = other.attrib, one.attrib


def _one_less(one: Element, elements: list[Element], chance: random.Random) -> None:
    above = chance.choice([two for two in elements if len(two)] or [one])
    for below in list(above)[:1] if chance.randrange(2) else list(above)[-1:]:
        above.remove(below)


def _one_twice(one: Element, elements: list[Element], chance: random.Random) -> None:
    above = chance.choice([two for two in elements if len(two)] or [one])
    for below in list(above)[:1]:
        above.insert(chance.randrange(len(above)), below)


def _one_elsewhere(one: Element, elements: list[Element], chance: random.Random) -> None:
    other = chance.choice(elements[1:] or elements)
    if one not in list(other.iter()):
        one.append(other)


def _renamed(one: Element, _elements: list[Element], chance: random.Random) -> None:
    namespace, _, name = one.tag.rpartition("}")
    if chance.randrange(3) == 0:
        one.tag = f"{{urn:unheard-of}}{name}"
    else:
        one.tag = (namespace + "}" if namespace else "") + chance.choice(_ODD_ELEMENTS)


def _other_text(one: Element, _elements: list[Element], chance: random.Random) -> None:
    one.text = chance.choice(WORDS)


def _buried(one: Element, _elements: list[Element], chance: random.Random) -> None:
    """Nest an element of the same kind deeply, or put a crowd of them beside one another."""
    if chance.randrange(2):
        one.extend(Element(one.tag, dict(one.attrib)) for _ in range(chance.choice((1, _CROWD))))
        return
    inner = one
    for _ in range(chance.choice((3, 33, _DEPTH))):
        below = Element(inner.tag, dict(one.attrib))
        inner.append(below)
        inner = below


_CHANGES = (
    *(_other_value,) * 4,
    _without_attribute,
    _more_attributes,
    _attributes_swapped,
    _one_less,
    _one_twice,
    _one_elsewhere,
    _renamed,
    _other_text,
    _buried,
)
