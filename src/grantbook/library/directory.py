"""The people of one organization, inside a Python application: members, departments, roles, keys."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from grantbook.library.arguments import checked, instant_of
from grantbook.model.facts import ApiKey, Department, Organization, Role
from grantbook.model.limits import DEFAULT_PAGE
from grantbook.service import departments, gates, keys, member_lists, members, roles
from grantbook.service.departments import DepartmentView
from grantbook.service.desk import Caller, Desk, Reading, Writing, again_if_aborted
from grantbook.service.listing import Page, require_part
from grantbook.service.members import MemberView
from grantbook.service.values import one_of


class NewKey(NamedTuple):
    """An API key, and its secret, which is told this once."""

    key: ApiKey
    secret: str


@checked()
class Directory:
    """One organization for one caller, as `OrganizationBook`, which has all of this."""

    def __init__(self, desk: Desk, caller: Caller, organization: Organization, owner_id: str) -> None:
        self._desk = desk
        self._caller = caller
        self.organization = organization
        self.owner_id = owner_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} of {self._caller.user_id}>"

    @property
    def id(self) -> str:
        return self.organization.id

    # Members

    @again_if_aborted
    def invite_member(
        self,
        email: str,
        *,
        full_name: str | None = None,
        user_id: str | None = None,
        role_ids: Collection[str] = (),
        department_ids: Collection[str] = (),
        is_active: bool = False,
    ) -> MemberView:
        """A new member: pending, without access, or active at once."""
        with self._writing() as writing:
            return members.invite(
                writing,
                email=email,
                full_name=full_name,
                role_ids=role_ids,
                department_ids=department_ids,
                is_active=is_active,
                user_id=user_id,
            )

    def get_member(self, user_id: str) -> MemberView:
        """A member with roles and departments."""
        with self._reading() as reading:
            return members.view(reading, user_id)

    def list_members(
        self,
        *,
        search: str | None = None,
        role_id: str | None = None,
        state: str | None = None,
        skip: int = 0,
        limit: int = DEFAULT_PAGE,
    ) -> Page[MemberView]:
        """A page of the members, oldest first: whose name or address contains the text, who have the role, who are in
        the state. Without a state those who are deactivated are there too."""
        require_part(skip, limit)
        wanted = member_lists.Wanted(search=search, role_id=role_id, state=state, with_deactivated=True)
        with self._reading() as reading:
            return member_lists.list_members(reading, wanted, skip=skip, limit=limit)

    @again_if_aborted
    def update_memberships(
        self, user_id: str, *, role_ids: Collection[str] | None = None, department_ids: Collection[str] | None = None
    ) -> MemberView:
        """Exactly these roles and departments from now on, be it without the base role Member; None leaves them."""
        with self._writing() as writing:
            present = members.view(writing, user_id)
            return members.update_memberships(
                writing,
                user_id,
                role_ids=present.role_ids if role_ids is None else role_ids,
                department_ids=present.department_ids if department_ids is None else department_ids,
            )

    @again_if_aborted
    def set_member_state(self, user_id: str, state: str) -> MemberView:
        """`active` or `deactivated`. Raises ValidationFailed(state)."""
        one_of("state", state, ("active", "deactivated"))
        with self._writing() as writing:
            return members.set_state(writing, user_id, state)

    @again_if_aborted
    def rename_member(self, user_id: str, *, first_name: str | None = None, last_name: str | None = None) -> MemberView:
        """Another first or last name; None leaves it."""
        with self._writing() as writing:
            return members.update(writing, user_id, first_name=first_name, last_name=last_name)

    @again_if_aborted
    def remove_member(self, user_id: str, *, heir_id: str | None = None) -> None:
        """The member goes, with memberships, keys and the grants that name them. What they own goes to a department, if
        one is named."""
        with self._writing() as writing:
            members.remove(writing, user_id, heir_id=heir_id)

    @again_if_aborted
    def restore_member(self, user_id: str) -> MemberView:
        """Who was removed comes back in the state that they had, with the base role Member and nothing else."""
        with self._writing() as writing:
            return members.restore(writing, user_id)

    # Departments

    @again_if_aborted
    def create_department(
        self,
        name: str,
        *,
        parent_id: str | None = None,
        description: str | None = None,
        department_id: str | None = None,
    ) -> Department:
        """A department, at the top or below another."""
        with self._writing() as writing:
            return departments.create(
                writing, name=name, description=description, parent_id=parent_id, department_id=department_id
            )

    def get_department(self, department_id: str) -> DepartmentView:
        """A department, with the names from the root down to it."""
        with self._reading() as reading:
            return departments.view(reading, department_id)

    def list_departments(self) -> list[DepartmentView]:
        """Every department, oldest first, with the names from the root down to it. Raises LimitExceeded."""
        with self._reading() as reading:
            return departments.list_departments(reading)

    @again_if_aborted
    def update_department(
        self, department_id: str, *, name: str | None = None, description: str | None = None
    ) -> Department:
        """Another name or description; None leaves it, and an empty description takes it away."""
        with self._writing() as writing:
            return departments.update(writing, department_id, name=name, description=description)

    @again_if_aborted
    def move_department(self, department_id: str, new_parent_id: str | None) -> Department:
        """Below another department, or to the top, with everything below it. Grants above reach it from then on.

        Raises ValidationFailed(new_parent_id) for a place below itself, or too deep a tree.
        """
        with self._writing() as writing:
            return departments.move(writing, department_id, new_parent_id)

    @again_if_aborted
    def join_department(self, department_id: str, user_id: str) -> None:
        """The member is in the department; saying it again changes nothing."""
        with self._writing() as writing:
            members.join_department(writing, department_id, user_id)

    @again_if_aborted
    def leave_department(self, department_id: str, user_id: str) -> None:
        """The member is in it no more. Raises NotFound for who was not."""
        with self._writing() as writing:
            members.leave_department(writing, department_id, user_id)

    @again_if_aborted
    def delete_department(self, department_id: str) -> None:
        """The department goes, with its memberships and the grants that name it."""
        with self._writing() as writing:
            departments.delete(writing, department_id)

    # Roles

    @again_if_aborted
    def create_role(
        self,
        name: str,
        *,
        capabilities: Collection[str] = (),
        description: str | None = None,
        role_id: str | None = None,
    ) -> Role:
        """A custom role."""
        with self._writing() as writing:
            return roles.create(writing, name=name, description=description, capabilities=capabilities, role_id=role_id)

    def get_role(self, role_id: str) -> Role:
        """A role."""
        with self._reading() as reading:
            return gates.get_role(reading, role_id)

    def list_roles(self) -> list[Role]:
        """Every role, oldest first, the base roles too. Raises LimitExceeded."""
        with self._reading() as reading:
            return [role for role, _ in roles.list_roles(reading)]

    @again_if_aborted
    def update_role(
        self,
        role_id: str,
        *,
        name: str | None = None,
        capabilities: Collection[str] | None = None,
        description: str | None = None,
    ) -> Role:
        """Another name, set of capabilities or description for a custom role; None leaves it. Raises PermissionDenied
        for a base role."""
        with self._writing() as writing:
            return roles.update(writing, role_id, name=name, description=description, capabilities=capabilities)

    @again_if_aborted
    def assign_role(self, role_id: str, user_id: str) -> None:
        """The member has the role; saying it again changes nothing."""
        with self._writing() as writing:
            members.assign_role(writing, role_id, user_id)

    @again_if_aborted
    def unassign_role(self, role_id: str, user_id: str) -> None:
        """The member has it no more. Raises NotFound for who had not, LastOwner."""
        with self._writing() as writing:
            members.unassign_role(writing, role_id, user_id)

    @again_if_aborted
    def delete_role(self, role_id: str) -> None:
        """The role goes, with its assignments and the grants that name it."""
        with self._writing() as writing:
            roles.delete(writing, role_id)

    # API keys

    @again_if_aborted
    def create_api_key(
        self, user_id: str, name: str, *, scopes: Sequence[str] | None = None, expires_at: datetime | None = None
    ) -> NewKey:
        """A new key that acts as the user, and its secret, of which only a digest is kept."""
        with self._writing() as writing:
            chosen = None if scopes is None else tuple(scopes)
            expiry = instant_of(expires_at)
            return NewKey(*keys.create(writing, user_id=user_id, name=name, scopes=chosen, expires_at=expiry))

    def list_api_keys(self, *, skip: int = 0, limit: int = DEFAULT_PAGE) -> Page[ApiKey]:
        """A page of the keys, oldest first: the caller's own, or with `manage_api_keys` all of them."""
        require_part(skip, limit)
        with self._reading() as reading:
            return keys.list_keys(reading, skip=skip, limit=limit)

    @again_if_aborted
    def pause_api_key(self, key_id: str) -> ApiKey:
        """The key opens nothing until it goes on; doing it again changes nothing."""
        with self._writing() as writing:
            return keys.switch(writing, key_id, "pause")

    @again_if_aborted
    def unpause_api_key(self, key_id: str) -> ApiKey:
        """A paused key goes on."""
        with self._writing() as writing:
            return keys.switch(writing, key_id, "unpause")

    @again_if_aborted
    def rotate_api_key(self, key_id: str) -> NewKey:
        """A new key with a new secret in the place of this one, which is dead from the same moment on."""
        with self._writing() as writing:
            return NewKey(*keys.rotate(writing, key_id))

    @again_if_aborted
    def delete_api_key(self, key_id: str) -> None:
        """The key ends at once; its history stays."""
        with self._writing() as writing:
            keys.delete(writing, key_id)

    @contextmanager
    def _reading(self, as_of: datetime | None = None) -> Iterator[Reading]:
        """Raises OrganizationAccessDenied for a caller who is no member any more."""
        with self._desk.reading(self.id, self._caller, as_of=instant_of(as_of)) as reading:
            gates.require_membership(reading)
            yield reading

    @contextmanager
    def _writing(self, reason: str | None = None) -> Iterator[Writing]:
        """Raises as `_reading`."""
        with self._desk.writing(self.id, self._caller, reason=reason) as writing:
            gates.require_membership(writing)
            yield writing
