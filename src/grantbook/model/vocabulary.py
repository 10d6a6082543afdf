"""What can be granted on: entity types as data.

A type says which levels it has (a ladder, lowest first), whom it may be granted to, what it may contain,
and which level its owner and its access mode give. The built-in types are below; an installation adds more
from a TOML file (`vocabulary_file` in the settings):

    [entity_types.notebook]
    levels = ["view", "comment", "edit"]
    id_prefix = "nb_"
    contains = []
    owner_levels = { user = "edit", department = "comment", organization = "view" }
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeVar

from grantbook.model.errors import ConfigurationError, ValidationFailed
from grantbook.model.ids import is_id

GRANTEE_TYPES: Final = ("user", "department", "role", "organization", "all")
OWNER_TYPES: Final = ("user", "department", "organization")
ACCESS_MODES: Final = ("public", "organization", "department", "private")
LISTED_MODES: Final = frozenset({"department", "private"})
OPEN_MODES: Final = frozenset(ACCESS_MODES) - LISTED_MODES
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SHAPES: Final[Mapping[type, str]] = {bool: "true or false", str: "a text", dict: "a table"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityType:
    """One kind of entity. `owner_levels` maps an owner type to the level that owning gives, `ranks` a level to its
    place on the ladder, 0 the lowest."""

    name: str
    levels: tuple[str, ...]
    grantee_types: frozenset[str]
    is_bound: bool
    contains: frozenset[str] = frozenset()
    owner_levels: Mapping[str, str]
    default_access_mode: str = "private"
    id_prefix: str = ""
    ranks: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(f"entity type {self.name!r} needs a name of lower-case letters, digits and '_'")
        if self.id_prefix and not is_id(self.id_prefix + "0"):
            raise ConfigurationError(f"entity type {self.name!r} needs an id_prefix of lower-case letters and '_'")
        if not self.levels or len(set(self.levels)) != len(self.levels):
            raise ConfigurationError(f"entity type {self.name!r} needs levels, each named once")
        if unknown := self.grantee_types - set(GRANTEE_TYPES):
            raise ConfigurationError(f"entity type {self.name!r} names unknown grantee types {sorted(unknown)}")
        if "all" in self.grantee_types and self.is_bound:
            raise ConfigurationError(f"entity type {self.name!r} is bound to the organization, so not for 'all'")
        if set(self.owner_levels) != set(OWNER_TYPES) or not set(self.owner_levels.values()) <= set(self.levels):
            raise ConfigurationError(
                f"entity type {self.name!r} needs owner_levels for {', '.join(OWNER_TYPES)}, each one of its levels"
            )
        if self.default_access_mode not in ACCESS_MODES:
            raise ConfigurationError(f"entity type {self.name!r} has an unknown default_access_mode")
        object.__setattr__(self, "ranks", MappingProxyType({name: i for i, name in enumerate(self.levels)}))

    @property
    def lowest_level(self) -> str:
        return self.levels[0]

    @property
    def top_level(self) -> str:
        return self.levels[-1]

    def rank(self, level: str) -> int:
        """Position of a level on the ladder, 0 the lowest. Raises ValidationFailed(access_level)."""
        rank = self.ranks.get(level)
        if rank is None:
            raise ValidationFailed("access_level", f"access_level must be one of {', '.join(self.levels)}")
        return rank


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All entity types of an installation, by name."""

    types: Mapping[str, EntityType]

    def __post_init__(self) -> None:
        for entity_type in self.types.values():
            for name in entity_type.contains:
                inner = self.types.get(name)
                if inner is None:
                    raise ConfigurationError(f"entity type {entity_type.name!r} contains the unknown type {name!r}")
                if inner.levels != entity_type.levels or inner.is_bound != entity_type.is_bound:
                    raise ConfigurationError(
                        f"{entity_type.name!r} cannot contain {name!r}: a grant on a container gives the same level "
                        "on all that it contains, so both need the same levels"
                    )

    def entity_type(self, name: str) -> EntityType:
        """The type of that name. Raises ValidationFailed(entity_type)."""
        found = self.types.get(name)
        if found is None:
            raise ValidationFailed("entity_type", f"entity_type must be one of {', '.join(sorted(self.types))}")
        return found

    def may_contain(self, container_type: str, member_type: str) -> bool:
        """Whether what is of one type may contain what is of the other. Where it may not (any more), it gives nothing:
        only what it may contain has its levels."""
        kind = self.types.get(container_type)
        return kind is not None and member_type in kind.contains

    def check_filter(self, entity_type: str | None, access_level: str | None) -> None:
        """Raises ValidationFailed for an unknown type, or a level that it lacks; without a type, one that all lack."""
        if entity_type is not None:
            kind = self.entity_type(entity_type)
            if access_level is not None:
                kind.rank(access_level)
        elif access_level is not None:
            known = dict.fromkeys(level for each in self.types.values() for level in each.levels)
            if access_level not in known:
                raise ValidationFailed("access_level", f"access_level must be one of {', '.join(known)}")

    @property
    def bound_types(self) -> tuple[str, ...]:
        """Names of the types whose grants the access routes manage; the others are rules, with routes of their own."""
        return tuple(name for name, entity_type in self.types.items() if entity_type.is_bound)

    def extended(self, document: Mapping[str, Any]) -> "Vocabulary":
        """This vocabulary and the `entity_types` of a parsed TOML document. Raises ConfigurationError."""
        types = dict(self.types)
        added = document.get("entity_types", {})
        if set(document) - {"entity_types"} or not isinstance(added, Mapping):
            raise ConfigurationError("a vocabulary has tables [entity_types.<name>] and nothing else")
        for name, spec in added.items():
            if name in self.types:
                raise ConfigurationError(f"entity type {name!r} is built in and cannot be redefined")
            types[name] = _entity_type(name, spec)
        return Vocabulary(MappingProxyType(types))


def _entity_type(name: str, spec: object) -> EntityType:
    if not isinstance(spec, Mapping):
        raise ConfigurationError(f"entity type {name!r} must be a table of settings")
    known = {"levels", "grantee_types", "bound", "contains", "owner_levels", "default_access_mode", "id_prefix"}
    if unknown := set(spec) - known:
        raise ConfigurationError(f"entity type {name!r} has unknown settings {sorted(unknown)}")
    levels = _texts(name, spec, "levels", ())
    if not levels:
        raise ConfigurationError(f"entity type {name!r} needs levels, lowest first")
    owner_levels = _setting(
        name, spec, "owner_levels", dict, {"user": levels[-1], "department": levels[0], "organization": levels[0]}
    )
    return EntityType(
        name=name,
        levels=levels,
        grantee_types=frozenset(_texts(name, spec, "grantee_types", ("user", "department", "role", "organization"))),
        is_bound=_setting(name, spec, "bound", bool, True),
        contains=frozenset(_texts(name, spec, "contains", ())),
        owner_levels={owner: _setting(name, owner_levels, owner, str, "") for owner in owner_levels},
        default_access_mode=_setting(name, spec, "default_access_mode", str, "private"),
        id_prefix=_setting(name, spec, "id_prefix", str, ""),
    )


def _setting(name: str, spec: Mapping[str, Any], setting: str, kind: type[T], default: T) -> T:
    value = spec.get(setting, default)
    if not isinstance(value, kind):
        raise ConfigurationError(f"entity type {name!r}: {setting} must be {_SHAPES[kind]}, not {value!r}")
    return value


def _texts(name: str, spec: Mapping[str, Any], setting: str, default: tuple[str, ...]) -> tuple[str, ...]:
    values = spec.get(setting, default)
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) and value for value in values):
        raise ConfigurationError(f"entity type {name!r}: {setting} must be a list of texts, not {values!r}")
    return tuple(values)


_KNOWLEDGE_LEVELS: Final = ("read", "add_new", "overwrite", "write", "admin")
_IN_ORGANIZATION: Final = frozenset({"user", "department", "role", "organization"})
_KNOWLEDGE_OWNERS: Final = MappingProxyType({"user": "admin", "department": "write", "organization": "read"})


def _knowledge(name: str, id_prefix: str, contains: frozenset[str] = frozenset(), mode: str = "private") -> EntityType:
    return EntityType(
        name=name,
        levels=_KNOWLEDGE_LEVELS,
        grantee_types=_IN_ORGANIZATION,
        is_bound=True,
        contains=contains,
        owner_levels=_KNOWLEDGE_OWNERS,
        default_access_mode=mode,
        id_prefix=id_prefix,
    )


BUILT_IN: Final = Vocabulary(
    MappingProxyType(
        {
            "knowledge_slice": _knowledge("knowledge_slice", "kslice_", frozenset({"knowledge_slice", "vector_store"})),
            "vector_store": _knowledge("vector_store", "vs_", mode="organization"),
            "assistant": _knowledge("assistant", "asst_"),
            "rule": EntityType(
                name="rule",
                levels=("view", "use", "modify"),
                grantee_types=_IN_ORGANIZATION | {"all"},
                is_bound=False,
                owner_levels=MappingProxyType({"user": "modify", "department": "use", "organization": "view"}),
                id_prefix="rule_",
            ),
        }
    )
)
