"""Macros inside the texts of a manifest: folders of the running system and localized strings."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wimsmith.errors import LimitExceeded, NotSupported
from wimsmith.offline.components.install.destinations import Places

_MACRO = re.compile(r"\$\(([^()]*)\)")
_STRING_KINDS = frozenset(["string", "resourcestring"])
_FALLBACK_CULTURE = "en-us"
_MAX_EXPANSIONS = 8
_MAX_CHARACTERS = 32 << 20

StringTable = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Expander:
    """Replaces macros in texts of one component.

    Attributes:
        places: folders of the running system, as the component sees them.
        tables: string tables in the order in which they are asked.
    """

    places: Places
    tables: Sequence[StringTable] = ()

    def expand(self, text: str) -> str:
        """`text` with every macro replaced by what it means on the running system.

        Raises:
            NotSupported: `macro`, a macro that is not known, a string that no table has, or
                strings that refer to each other.
            LimitExceeded: more text than any value could hold.
        """
        for _ in range(_MAX_EXPANSIONS):
            if "$(" not in text:
                return text
            text = self._expanded(text)
        raise NotSupported("macro", f"macros without end in {text[:120]!r}")

    def _expanded(self, text: str) -> str:
        """`text` with its macros replaced once; bounded, since texts may multiply each other."""
        parts, at, size = [], 0, 0
        for match in _MACRO.finditer(text):
            parts += [text[at : match.start()], self._replaced(match)]
            at = match.end()
            size += len(parts[-2]) + len(parts[-1])
            if size > _MAX_CHARACTERS:
                raise LimitExceeded(f"a text that macros make longer than {_MAX_CHARACTERS}")
        return "".join((*parts, text[at:]))

    def _replaced(self, match: re.Match[str]) -> str:
        kind, _, name = match[1].partition(".")
        if kind.lower() in _STRING_KINDS:
            return self._string(name)
        return self.places.online_path(match[1])

    def _string(self, name: str) -> str:
        for table in self.tables:
            if name in table:
                return table[name]
        raise NotSupported("macro", f"no text is known for $(string.{name[:80]})")


def cultures_in_order(
    available: Sequence[str], *, component_language: str, image_languages: Sequence[str]
) -> tuple[str, ...]:
    """Cultures of a manifest's string tables, best first.

    That of the component itself, then those of the image, then English, then the rest as written.
    """
    wanted = [component_language, *image_languages, _FALLBACK_CULTURE]
    order = {culture.lower(): rank for rank, culture in reversed(list(enumerate(wanted)))}
    return tuple(sorted(available, key=lambda one: order.get(one.lower(), len(order) + 10)))


def string_tables(
    strings: Mapping[str, StringTable], *, component_language: str, image_languages: Sequence[str]
) -> tuple[StringTable, ...]:
    """The string tables of a manifest in the order in which they are asked."""
    cultures = cultures_in_order(
        tuple(strings), component_language=component_language, image_languages=image_languages
    )
    return tuple(strings[culture] for culture in cultures)
