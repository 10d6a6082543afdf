"""Departments and roles of an organization, kept once for all the users who are in them: few, and shared by many."""

from collections.abc import Iterable
from typing import Final

import msgspec

from grantbook.engine.held import HeldUser, name_of
from grantbook.model.errors import LimitExceeded
from grantbook.model.facts import EVERYONE
from grantbook.model.limits import MAX_DEPARTMENT_DEPTH
from grantbook.model.resolution import OVERRIDE
from grantbook.store.port import Present, StandingRow

_GROUP_BYTES: Final = 400
_EVERYONE: Final = name_of(*EVERYONE)
_CAPABILITIES: Final = msgspec.json.Decoder(list[str])


def overrides(capabilities: str) -> bool:
    """Whether a role with these, as the store has them, overrides all permissions."""
    return OVERRIDE in _CAPABILITIES.decode(capabilities)


class HeldGroups:
    """Those that somebody who was asked about is in; what is not there is held as that.

    `load` goes before `user`, within a reading of the store. Names are kept once, in `names`.
    """

    def __init__(self, present: Present, organization_id: str, names: dict[str, str]) -> None:
        self._present = present
        self._organization_id = organization_id
        self._own_name = name_of("organization", organization_id)
        self._names = names
        self._lines: dict[str, tuple[str, ...] | None] = {}
        self._roles: dict[str, tuple[str, bool]] = {}

    def load(self, standings: Iterable[StandingRow]) -> int:
        """Whatever they name that is not held; how many bytes that takes."""
        lines, roles = self._lines, self._roles
        new_lines: set[str] = set()
        new_roles: set[str] = set()
        for _, part, id_ in standings:
            if part == "department":
                if id_ not in lines:
                    new_lines.add(id_)
            elif part == "role" and id_ not in roles:
                new_roles.add(id_)
        if new_lines:
            parents = dict(self._present.departments(self._organization_id, new_lines))
            lines.update((id_, self._line(id_, parents)) for id_ in new_lines)
        if new_roles:
            capabilities = dict(self._present.roles(self._organization_id, new_roles))
            for id_ in new_roles:
                roles[id_] = self._name("role", id_), id_ in capabilities and overrides(capabilities[id_])
        return _GROUP_BYTES * (len(new_lines) + len(new_roles))

    def user(self, user_id: str, standings: Iterable[StandingRow]) -> HeldUser:
        """Whom the user counts as; known where a member, whatever grants may name the user.

        Raises LimitExceeded(department_depth) as the definition does.
        """
        lines, roles = self._lines, self._roles
        state: str | None = None
        name = self._name("user", user_id)
        names = [name, _EVERYONE, self._own_name]
        overriding: list[str] = []
        is_too_deep = False
        for _, part, value in standings:
            if part == "department":
                line = lines[value]
                if line is None:
                    is_too_deep = True
                else:
                    names += line
            elif part == "role":
                role, is_overriding = roles[value]
                names.append(role)
                if is_overriding:
                    overriding.append(value)
            else:
                state = value
        if state != "active":
            return HeldUser(user_id, name, state is not None, False, frozenset((name, _EVERYONE)), ())
        if is_too_deep:
            raise LimitExceeded(limit="department_depth", maximum=MAX_DEPARTMENT_DEPTH)
        return HeldUser(user_id, name, True, True, frozenset(names), tuple(overriding))

    def add(self, others: "HeldGroups") -> None:
        """What others hold, of the same revision."""
        self._lines |= others._lines
        self._roles |= others._roles

    def drop_departments(self) -> None:
        """Forget all of them: any may lie below the one that changed."""
        self._lines.clear()

    def drop_role(self, role_id: str) -> None:
        """Forget one."""
        self._roles.pop(role_id, None)

    def clear(self) -> None:
        """Forget everything."""
        self._lines.clear()
        self._roles.clear()

    def _line(self, department_id: str, parents: dict[str, str | None]) -> tuple[str, ...] | None:
        """None where it is too deep."""
        line: list[str] = []
        current: str | None = department_id
        while current in parents and (name := self._name("department", current)) not in line:
            line.append(name)
            if len(line) > MAX_DEPARTMENT_DEPTH:
                return None
            current = parents[current]
        return tuple(line)

    def _name(self, type_: str, id_: str) -> str:
        name = name_of(type_, id_)
        return self._names.setdefault(name, name)
