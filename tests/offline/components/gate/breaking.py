"""Images in which single facts are changed by programs of others: wimlib-imagex and hivexsh."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HIVES = {name: f"Windows/System32/config/{name}" for name in ("SOFTWARE", "SYSTEM", "COMPONENTS")}
CBS = r"Microsoft\Windows\CurrentVersion\Component Based Servicing"
WINNERS = r"Microsoft\Windows\CurrentVersion\SideBySide\Winners"
COMPONENTS = r"DerivedData\Components"
DEPLOYMENTS = r"CanonicalData\Deployments"
CATALOGS = r"CanonicalData\Catalogs"
_VALUE = re.compile(r'(?:"(?P<name>(?:[^"\\]|\\.)*)"|@)=(?P<data>.*)')
_TYPED_TEXT = re.compile(r'str\((\d+)\):"(.*)"')


def run(*arguments: object, stdin: str = "") -> str:
    done = subprocess.run(
        [str(one) for one in arguments], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{arguments}: {(done.stdout + done.stderr)[-2000:]}"
    return done.stdout


class ForeignHive:
    """A hive file, read and changed with hivexsh. Values are in its notation, `type:value`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keys(self, key: str) -> list[str]:
        return self._do(key, "ls").splitlines()

    def values(self, key: str) -> dict[str, str]:
        """Names and data, as `setval` takes them; the default value is called @."""
        found = {}
        for line in self._do(key, "lsval").splitlines():
            match = _VALUE.fullmatch(line)
            assert match, line
            name = match["name"]
            found["@" if name is None else _plain(name)] = _for_setting(match["data"])
        return found

    def set(self, key: str, name: str, data: str) -> None:
        self._replace(key, self.values(key) | {name: data})

    def remove(self, key: str, name: str) -> None:
        values = self.values(key)
        del values[name]
        self._replace(key, values)

    def add(self, key: str, values: dict[str, str] | None = None) -> None:
        above, _, name = key.rpartition("\\")
        self._do(above, f"add {name}", "commit")
        self._replace(key, values or {})

    def delete(self, key: str) -> None:
        self._do(key, "del", "commit")

    def _replace(self, key: str, values: dict[str, str]) -> None:
        lines = [line for pair in values.items() for line in pair]
        self._do(key, f"setval {len(values)}", *lines, "commit")

    def _do(self, key: str, *commands: str) -> str:
        script = self.path.with_suffix(".script")
        place = [f"cd \\{key}"] if key else []
        script.write_text("\n".join((*place, *commands)) + "\n")
        return run("hivexsh", "-w", "-f", script, self.path)


class ForeignImage:
    """A copy of an image, changed with wimlib-imagex."""

    def __init__(self, original: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / "broken.wim"
        shutil.copyfile(original, self.path)

    @contextmanager
    def hive(self, name: str) -> Iterator[ForeignHive]:
        """A hive of the image; it is put back at the end."""
        file = self.extracted(HIVES[name])
        yield ForeignHive(file)
        self.put(HIVES[name], file.read_bytes())

    def extracted(self, path: str) -> Path:
        run("wimlib-imagex", "extract", self.path, "1", f"/{path}", f"--dest-dir={self.folder}")
        return self.folder / path.rpartition("/")[2]

    def read(self, path: str) -> bytes:
        return self.extracted(path).read_bytes()

    def put(self, path: str, data: bytes) -> None:
        source = self.folder / "put"
        source.write_bytes(data)
        self.update(f'add "{source}" "/{path}"')

    def delete(self, path: str) -> None:
        self.update(f'delete --recursive "/{path}"')

    def rename(self, path: str, to: str) -> None:
        self.update(f'rename "/{path}" "/{to}"')

    def update(self, command: str) -> None:
        run("wimlib-imagex", "update", self.path, "1", "--no-acls", stdin=command + "\n")

    def names(self, folder: str) -> list[str]:
        listed = run("wimlib-imagex", "dir", self.path, "1", f"--path=/{folder}").splitlines()
        return [
            line.rpartition("/")[2] for line in listed if line.count("/") == folder.count("/") + 2
        ]


def binary(data: bytes, kind: int = 3) -> str:
    """Data of a value as hivexsh takes them; 3 is REG_BINARY."""
    return f"hex:{kind}:{data.hex(',')}"


def number(value: int) -> str:
    """A REG_DWORD as hivexsh takes it."""
    return binary(value.to_bytes(4, "little"), 4)


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _for_setting(data: str) -> str:
    if data.startswith('"'):
        return f"string:{_plain(data[1:-1])}"
    if match := _TYPED_TEXT.fullmatch(data):
        encoded = (_plain(match[2]) + "\0").encode("utf-16-le")
        return binary(encoded, int(match[1]))
    if match := re.fullmatch(r"hex\((\d+)\):(.*)", data):
        return f"hex:{match[1]}:{match[2]}"
    if data.startswith("dword:"):  # shown in hexadecimal, read as if octal
        return number(int(data.removeprefix("dword:"), 16))
    return data
