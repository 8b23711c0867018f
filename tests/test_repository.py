"""What a stranger who clones the repository may rely on."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_FILE_BYTES = 512 << 10
MACHINE_PATHS = re.compile("/" + r"(work|tmp|home/[a-z]+|Users/[a-z]+)/")
PACKAGE_HOSTS = re.compile(
    "|".join(
        r"\.".join(parts)
        for parts in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("deb", "debian", "org"),
            ("security", "debian", "org"),
            ("snapshot", "debian", "org"),
            ("registry", "npmjs", "org"),
            ("proxy", "golang", "org"),
            ("crates", "io"),
        )
    )
)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data:
            found.append((path, data.decode("utf-8", "replace")))
    return found


def hits(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path, text in texts()
        for match in pattern.finditer(text)
    ]


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    assert hits(MACHINE_PATHS) == []


def test_no_file_names_a_package_host() -> None:
    assert hits(PACKAGE_HOSTS) == []


def test_no_file_is_large() -> None:
    assert [str(path) for path in tracked() if path.stat().st_size > MAX_FILE_BYTES] == []


def test_the_readme_has_exactly_two_setup_commands_and_fits_a_screen() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    commands = [line.split("#")[0].strip() for line in block.splitlines()]
    assert commands == ["sh bin/demo", "sh bin/test"]
    assert len(readme.splitlines()) <= 60


@pytest.mark.parametrize("name", ["setup", "demo", "test", "fix", "lock"])
def test_scripts_are_valid_for_the_plainest_shell(name: str) -> None:
    script = ROOT / "bin" / name
    assert script.stat().st_mode & 0o111
    assert script.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
    subprocess.run(["/bin/sh", "-n", str(script)], check=True)


def test_the_build_server_runs_what_people_run() -> None:
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & 0o111
    assert "exec sh bin/test" in run.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["runtime", "dev", "build", "lock"])
def test_every_requirement_is_pinned_with_hashes(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    entries = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", entry), (
            entry
        )


def test_every_dependency_of_the_package_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {re.split(r"[\[>=<,]", one)[0] for one in project["dependencies"]}
    listed = (ROOT / "requirements" / "runtime.in").read_text(encoding="utf-8").split()
    assert asked == {re.split(r"[\[>=<,]", one)[0] for one in listed}


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path, text in texts()
        if path.suffix == ".md"
        for target in LINK.findall(text)
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert broken == []


def test_decisions_are_numbered_and_say_context_choice_and_cost() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(page.name[:4])}. ")
        assert all(f"**{part}.**" in text for part in ("Context", "Choice", "Cost")), page.name


def test_fragments_of_the_changelog_have_a_topic_and_a_kind() -> None:
    names = [path.name for path in (ROOT / "changes").iterdir()]
    assert names
    assert all(re.fullmatch(r"[a-z0-9-]+\.(added|changed|fixed)\.md", name) for name in names)
