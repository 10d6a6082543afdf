"""Departments and roles of an organization, kept once for all the users who are in them: few, and shared by many."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import msgspec

from grantbook.engine.held import HeldUser, name_of
from grantbook.model.errors import LimitExceeded
from grantbook.model.facts import EVERYONE
from grantbook.model.limits import MAX_DEPARTMENT_DEPTH
from grantbook.model.resolution import OVERRIDE
from grantbook.store.present_port import Present, Standing

_GROUP_BYTES: Final = 400
_EVERYONE: Final = name_of(*EVERYONE)
_Line = tuple[tuple[str, ...], tuple[str, ...]]
"""A department and all above it: their names, and their ids."""
_CAPABILITIES: Final = msgspec.json.Decoder(list[str])


def overrides(capabilities: str) -> bool:
    """Whether a role with these, as the store has them, overrides all permissions."""
    return OVERRIDE in _CAPABILITIES.decode(capabilities)


class HeldGroups:
    """Those that somebody who was asked about is in; what is not there is held as that.

    Names are kept once, in `names`; `spend` is told how many bytes more are held.
    """

    def __init__(
        self, present: Present, organization_id: str, names: dict[str, str], spend: Callable[[int], None]
    ) -> None:
        self._present = present
        self._spend = spend
        self._organization_id = organization_id
        self._own_name = name_of("organization", organization_id)
        self._names = names
        self._lines: dict[str, _Line | None] = {}
        self._roles: dict[str, tuple[str, bool]] = {}

    def load(self, standings: Sequence[Standing]) -> None:
        """Whatever they name that is not held; within a reading of the store."""
        lines, roles = self.missing(standings)
        parents = self._present.departments(self._organization_id, lines) if lines else ()
        capabilities = self._present.roles(self._organization_id, roles) if roles else ()
        self.hold(lines, parents, roles, capabilities)

    def missing(self, standings: Sequence[Standing]) -> tuple[set[str], set[str]]:
        """Departments and roles that they name and that are not held."""
        lines, roles = self._lines, self._roles
        return (
            {id_ for part, id_ in standings if part == "department" and id_ not in lines},
            {id_ for part, id_ in standings if part == "role" and id_ not in roles},
        )

    def hold(
        self,
        lines: Collection[str],
        parents: Iterable[tuple[str, str | None]],
        roles: Collection[str],
        capabilities: Iterable[tuple[str, str]],
    ) -> None:
        """Departments and roles, as the store tells of them: see `Present.departments` and `Present.roles`."""
        parent_of, of_role = dict(parents), dict(capabilities)
        for id_ in lines:
            self._lines[id_] = self._line(id_, parent_of)
        for id_ in roles:
            self._roles[id_] = self._name("role", id_), id_ in of_role and overrides(of_role[id_])
        self._spend(_GROUP_BYTES * (len(lines) + len(roles)))

    def user(self, user_id: str, standing: Sequence[Standing]) -> HeldUser:
        """Whom the user counts as; known where a member, whatever grants may name the user.

        What is not held is loaded, within a reading. Raises LimitExceeded(department_depth) as the definition does.
        """
        found = self.find_user(user_id, standing)
        if found is None:
            self.load(standing)
            found = self._held_user(user_id, standing)
        return found

    def find_user(self, user_id: str, standing: Sequence[Standing]) -> HeldUser | None:
        """As `user`, or None where something would have to be loaded."""
        try:
            return self._held_user(user_id, standing)
        except KeyError:
            return None

    def _held_user(self, user_id: str, standing: Sequence[Standing]) -> HeldUser:
        lines, roles = self._lines, self._roles
        state: str | None = None
        name = name_of("user", user_id)
        names = [name, _EVERYONE, self._own_name]
        ids = [user_id, EVERYONE.id, self._organization_id]
        overriding: list[str] = []
        is_too_deep = False
        for part, value in standing:
            if part == "department":
                line = lines[value]
                if line is None:
                    is_too_deep = True
                else:
                    names += line[0]
                    ids += line[1]
            elif part == "role":
                role, is_overriding = roles[value]
                names.append(role)
                ids.append(value)
                if is_overriding:
                    overriding.append(value)
            else:
                state = value
        if state != "active":
            ids = [user_id, EVERYONE.id]
            return HeldUser(user_id, name, state is not None, False, frozenset((name, _EVERYONE)), tuple(ids), ())
        if is_too_deep:
            raise LimitExceeded(limit="department_depth", maximum=MAX_DEPARTMENT_DEPTH)
        return HeldUser(user_id, name, True, True, frozenset(names), tuple(dict.fromkeys(ids)), tuple(overriding))

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

    def _line(self, department_id: str, parents: dict[str, str | None]) -> _Line | None:
        """None where it is too deep."""
        line: dict[str, str] = {}
        current: str | None = department_id
        while current in parents and (name := self._name("department", current)) not in line:
            line[name] = current
            if len(line) > MAX_DEPARTMENT_DEPTH:
                return None
            current = parents[current]
        return tuple(line), tuple(line.values())

    def _name(self, type_: str, id_: str) -> str:
        name = name_of(type_, id_)
        return self._names.setdefault(name, name)
