"""Whether the build is there that updates promise: the classic silent failure of servicing."""

import pytest

from wimsmith.errors import VerificationFailed
from wimsmith.images.facts import FileFacts, read_file
from wimsmith.practice.image import build_image
from wimsmith.practice.spec import Generation, ImageSpec
from wimsmith.servicing.finishing import check_builds


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> FileFacts:
    path = tmp_path_factory.mktemp("builds") / "image.wim"
    spec = ImageSpec(Generation.WINDOWS_10, size_bytes=1 << 19, components=3, revision=600)
    build_image(spec, path)
    return read_file(path)


def rollup(facts: FileFacts) -> str:
    names = (one.identity for one in facts.indexes[0].packages)
    return next(name for name in names if name.startswith("Package_for_RollupFix~"))


def test_the_promised_build_is_there(facts: FileFacts) -> None:
    check_builds(facts, [(1, rollup(facts), "19041.600"), (1, rollup(facts), "19041.500")])
    check_builds(facts, [(1, rollup(facts), "")])


@pytest.mark.parametrize("promise", ["19041.601", "19041.599", "26100.600"])
def test_another_build_than_the_promised_is_named(facts: FileFacts, promise: str) -> None:
    message = rf"revision-not-advanced: index 1 is at 19041\.600, its updates promise {promise}"
    with pytest.raises(VerificationFailed, match=message):
        check_builds(facts, [(1, rollup(facts), promise)])


def test_an_update_that_is_only_staged_promises_nothing(facts: FileFacts) -> None:
    staged = next(one.identity for one in facts.indexes[0].packages if one.state == 0x50)
    check_builds(facts, [(1, staged, "19041.9999")])
