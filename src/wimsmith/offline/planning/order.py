"""The order in which updates go into an image: total, and the same whatever order they come in.

Kinds have their places (`UpdateKind`), what an update needs comes before it, and of one package
the higher version comes first, since the lower is not required after it. Cumulative updates that
build on each other go up from checkpoint to checkpoint. A file with several packages is one update:
its main part says where it stands, and all of them what must come before it.
"""

import heapq
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from wimsmith.offline.manifests.identity import AssemblyIdentity, Version
from wimsmith.offline.manifests.package import Parent
from wimsmith.offline.planning.description import UpdateDescription
from wimsmith.offline.planning.kinds import UpdateKind
from wimsmith.offline.planning.parents import matches
from wimsmith.offline.planning.state import Image

_KINDS = {kind: place for place, kind in enumerate(UpdateKind)}
_Key = tuple[int, str, tuple[int, ...], tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class Chosen:
    """An update that was chosen. `key` tells it from all others and is nothing else."""

    key: int
    description: UpdateDescription


@dataclass(frozen=True, slots=True)
class Order:
    """Updates in their order; `circles` are keys of updates that claim to need each other."""

    updates: tuple[Chosen, ...]
    circles: tuple[tuple[int, ...], ...] = ()


def order(image: Image, chosen: Iterable[Chosen]) -> Order:
    """Put updates in order.

    Args:
        image: its kind of Windows says how versions of parents are compared.
        chosen: the updates, each key once, in any order.
    """
    updates = sorted(chosen, key=_natural)
    needs = _needs(image, updates)
    members = _Circles(needs).find()
    return Order(
        tuple(updates[place] for place in _sorted(updates, needs, members)),
        tuple(tuple(updates[place].key for place in circle) for circle in members),
    )


def _natural(one: Chosen) -> _Key:
    """Where an update stands that neither needs nor is needed: by kind, name, new before old."""
    identity = one.description.identity
    version = identity.version
    falling = (-version.major, -version.minor, -version.build, -version.revision)
    return _KINDS[one.description.kind], identity.name.lower(), falling, identity.family, one.key


def _needs(image: Image, updates: Sequence[Chosen]) -> list[set[int]]:
    """For each place the places of what must come before it."""
    needs: list[set[int]] = [set() for _ in updates]
    providers = _Providers(image, updates)
    for place, one in enumerate(updates):
        for parent in (parent for top in one.description.tops for parent in top.parents):
            for wanted in parent.identities:
                needs[place].update(providers.of(parent, wanted))
        needs[place].discard(place)
    for place, before in _checkpoints(updates):
        needs[place].add(before)
    return needs


class _Providers:
    """Which updates bring a package that satisfies a parent; each question is answered once."""

    def __init__(self, image: Image, updates: Sequence[Chosen]) -> None:
        self._image = image
        self._answers: dict[tuple[Parent, AssemblyIdentity], frozenset[int]] = {}
        self._brought: dict[tuple[str, str, str, str], list[tuple[Version, int]]] = defaultdict(
            list
        )
        for place, one in enumerate(updates):
            for manifest in one.description.packages.values():
                identity = manifest.identity
                self._brought[identity.family].append((identity.version, place))

    def of(self, parent: Parent, wanted: AssemblyIdentity) -> frozenset[int]:
        brought = self._brought.get(wanted.family)
        if brought is None:
            return frozenset()
        question = (parent, wanted)
        if question not in self._answers:
            self._answers[question] = frozenset(
                place
                for version, place in brought
                if matches(self._image, parent, wanted.version, version)
            )
        return self._answers[question]


def _checkpoints(updates: Sequence[Chosen]) -> Iterable[tuple[int, int]]:
    """Cumulative updates by the build they lead to, each after the one below it."""
    lines: dict[tuple[int, int, int], list[tuple[Version, int]]] = defaultdict(list)
    for place, one in enumerate(updates):
        step = one.description.step
        if one.description.kind is UpdateKind.CUMULATIVE and step and step.leads_to:
            target = step.leads_to
            lines[target.major, target.minor, target.build].append((target, place))
    for line in lines.values():
        targets = sorted(line)
        versions = [version for version, _ in targets]
        for version, place in targets:
            step = updates[place].description.step
            if step is None or step.needs is None:
                continue
            highest = bisect_right(versions, min(step.needs, version)) - 1
            below = targets[highest][1] if highest >= 0 else place
            if below != place:
                yield place, below


class _Circles:
    """Strongly connected places with more than one member (Tarjan), without recursion."""

    def __init__(self, needs: Sequence[set[int]]) -> None:
        self._needs = needs
        self._number: dict[int, int] = {}
        self._low: dict[int, int] = {}
        self._stack: list[int] = []
        self._depth: dict[int, int] = {}
        self._work: list[tuple[int, Iterator[int]]] = []
        self._found: list[tuple[int, ...]] = []

    def find(self) -> tuple[tuple[int, ...], ...]:
        for root in range(len(self._needs)):
            if root not in self._number:
                self._enter(root)
            while self._work:
                self._step()
        return tuple(sorted(self._found))

    def _enter(self, place: int) -> None:
        self._number[place] = self._low[place] = len(self._number)
        self._depth[place] = len(self._stack)
        self._stack.append(place)
        self._work.append((place, iter(sorted(self._needs[place]))))

    def _step(self) -> None:
        place, others = self._work[-1]
        other = next(others, None)
        if other is None:
            self._leave(place)
        elif other not in self._number:
            self._enter(other)
        elif other in self._depth:
            self._low[place] = min(self._low[place], self._number[other])

    def _leave(self, place: int) -> None:
        self._work.pop()
        if self._work:
            below = self._work[-1][0]
            self._low[below] = min(self._low[below], self._low[place])
        if self._low[place] != self._number[place]:
            return
        members = self._stack[self._depth[place] :]
        del self._stack[self._depth[place] :]
        for member in members:
            del self._depth[member]
        if len(members) > 1:
            self._found.append(tuple(sorted(members)))


def _sorted(
    updates: Sequence[Chosen], needs: Sequence[set[int]], circles: Sequence[tuple[int, ...]]
) -> list[int]:
    """Places in order: the first that is free, a circle counting as one."""
    group = {place: place for place in range(len(updates))}
    for circle in circles:
        group |= dict.fromkeys(circle, circle[0])
    members: dict[int, list[int]] = defaultdict(list)
    before: dict[int, set[int]] = defaultdict(set)
    after: dict[int, set[int]] = defaultdict(set)
    for place, wanted in enumerate(needs):
        members[group[place]].append(place)
        for other in wanted:
            if group[other] != group[place]:
                before[group[place]].add(group[other])
                after[group[other]].add(group[place])
    ranks = _pulled({one: _rank(updates[one]) for one in members}, before, after)
    waiting = {one: len(before[one]) for one in members}
    free = [(ranks[one], one) for one in members if not waiting[one]]
    heapq.heapify(free)
    done: list[int] = []
    while free:
        _, one = heapq.heappop(free)
        done += members[one]
        for other in after[one]:
            waiting[other] -= 1
            if not waiting[other]:
                heapq.heappush(free, (ranks[other], other))
    return done


def _rank(one: Chosen) -> int:
    return _KINDS[one.description.kind]


def _pulled(
    ranks: Mapping[int, int], before: Mapping[int, set[int]], after: Mapping[int, set[int]]
) -> dict[int, int]:
    """Ranks where what an update needs is as urgent as the update itself."""
    pulled = dict(ranks)
    waiting = {one: len(after.get(one, ())) for one in ranks}
    free = [one for one, count in waiting.items() if not count]
    while free:
        one = free.pop()
        for other in before.get(one, ()):
            pulled[other] = min(pulled[other], pulled[one])
            waiting[other] -= 1
            if not waiting[other]:
                free.append(other)
    return pulled
