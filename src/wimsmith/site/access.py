"""Who may do what. Roles are code, checked in every service function."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from wimsmith.errors import Forbidden


class Verb(StrEnum):
    READ = "read"
    CREATE = "create"
    MODIFY = "modify"
    DELETE = "delete"
    RUN = "run"


class ObjectClass(StrEnum):
    IMAGE = "image"
    UPDATE = "update"
    SERVICING = "servicing"
    JOB = "job"
    SETTING = "setting"


class Role(StrEnum):
    FULL_ADMINISTRATOR = "full administrator"
    OS_DEPLOYMENT_MANAGER = "OS deployment manager"
    OPERATIONS = "operations administrator"
    READ_ONLY = "read-only analyst"
    SERVICING_OPERATOR = "servicing operator"


Permission = tuple[ObjectClass, Verb]

_EVERYTHING = frozenset((kind, verb) for kind in ObjectClass for verb in Verb)
_READING = frozenset((kind, Verb.READ) for kind in ObjectClass)


def _all_of(*kinds: ObjectClass) -> frozenset[Permission]:
    return frozenset((kind, verb) for kind in kinds for verb in Verb)


PERMISSIONS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.FULL_ADMINISTRATOR: _EVERYTHING,
        Role.OS_DEPLOYMENT_MANAGER: _READING
        | _all_of(ObjectClass.IMAGE, ObjectClass.SERVICING, ObjectClass.JOB),
        Role.OPERATIONS: _READING
        | _all_of(ObjectClass.IMAGE, ObjectClass.UPDATE, ObjectClass.SERVICING, ObjectClass.JOB),
        Role.READ_ONLY: _READING,
        Role.SERVICING_OPERATOR: _READING
        | {
            (ObjectClass.SERVICING, Verb.CREATE),
            (ObjectClass.SERVICING, Verb.MODIFY),
            (ObjectClass.SERVICING, Verb.RUN),
            (ObjectClass.JOB, Verb.MODIFY),
        },
    }
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who asks for something; the name goes into logs, lineage and audit."""

    name: str
    role: Role


def require(actor: Actor, kind: ObjectClass, verb: Verb) -> None:
    """Do nothing if the actor may.

    Raises:
        Forbidden: the actor's role does not include it.
    """
    if (kind, verb) not in PERMISSIONS[actor.role]:
        raise Forbidden(f"{actor.name} ({actor.role}) may not {verb} {kind} objects")
