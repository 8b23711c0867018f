"""What a step returned or raised, as JSON: an error must be the same error after a restart."""

import errno
from collections.abc import Callable, Iterator
from typing import Any

from wimsmith.errors import Interrupted, NotEnoughSpace, WimsmithError

_NO_SPACE = frozenset([errno.ENOSPC, errno.EDQUOT])


def capture(function: Callable[[], Any]) -> dict[str, Any]:
    """Run `function`; its value, or the error it raised, as a JSON document.

    Raises:
        Interrupted: passed on, for it is no outcome.
    """
    try:
        return {"value": function()}
    except Interrupted:
        raise
    except WimsmithError as error:
        return {"error": describe(error)}
    except OSError as error:
        return {"error": describe(_of_system(error))}


def unpack(document: dict[str, Any]) -> Any:
    """The value of a captured outcome.

    Raises:
        WimsmithError: the captured error.
    """
    if "error" in document:
        raise revive(document["error"])
    return document["value"]


def describe(error: WimsmithError) -> dict[str, Any]:
    """An error as JSON: class by its code, arguments as text."""
    return {"code": error.code, "args": [str(one) for one in error.args], "hint": error.hint}


def revive(document: dict[str, Any]) -> WimsmithError:
    """The error that `describe` described."""
    below: Iterator[type[WimsmithError]] = _below(WimsmithError)
    classes = {WimsmithError.code: WimsmithError} | {kind.code: kind for kind in below}
    kind = classes.get(document["code"], WimsmithError)
    return kind(*document["args"], hint=document["hint"])


def _below(kind: type[WimsmithError]) -> Iterator[type[WimsmithError]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


def _of_system(error: OSError) -> WimsmithError:
    text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return NotEnoughSpace(text) if error.errno in _NO_SPACE else WimsmithError(text)
