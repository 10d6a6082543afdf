"""Members: invite, accept, list, change, deactivate, remove, restore; what one may do and reach oneself."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response

from grantbook.http.exchange import REVISION_HEADER, Answer, Exchanged, done, token_after
from grantbook.http.middleware import trace_id_of
from grantbook.http.platform import directory_rendering as rendering
from grantbook.http.platform import directory_shapes as shapes
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.model import ids
from grantbook.model.limits import DEFAULT_PAGE
from grantbook.service import invitations, member_lists, members, organizations, permissions
from grantbook.service.desk import Caller, Desk, Writing, again_if_aborted
from grantbook.service.member_lists import Wanted
from grantbook.store.port import Order

routes = router("Members")
open_routes = APIRouter(tags=["Members"])
USERS = ORGANIZATION + "/users"
USER = USERS + "/{user_id}"
INVITATION_PATH = "/v1/invitations/accept"
_READS: Any = {"openapi_extra": {"x-scope": "read"}}

Deactivation = Annotated[shapes.DeactivateUser, Body(default_factory=shapes.DeactivateUser)]
MembersWanted = Annotated[shapes.ListMembers, Body(default_factory=shapes.ListMembers)]
"""Of these no field is required, so no body is as good as an empty one."""


@routes.post(USERS + "/invite/v2", **documented(shapes.UserAnswer, writes=True, status=201))
def invite_user(organization_id: str, body: shapes.InviteUser, exchange: Exchanged) -> Response:
    """A new member. Pending, without access, unless `send_invitation` is false: then active at once.

    The link of the invitation is told in this answer alone; sending it is up to you.
    """

    def work(writing: Writing) -> Answer:
        made = members.invite(
            writing,
            email=body.email,
            full_name=body.full_name,
            role_ids=body.role_ids or (),
            department_ids=body.department_ids or (),
            is_active=body.send_invitation is False,
            user_id=body.user_id,
        )
        link = exchange.link(INVITATION_PATH, token=made.invitation_token) if made.invitation_token else None
        return Answer(rendering.user(writing, made, link), 201, holds_secret=link is not None)

    return exchange.write(organization_id, work)


@open_routes.post(INVITATION_PATH, **documented(shapes.UserAnswer, writes=True))
@again_if_aborted
def accept_invitation(body: shapes.AcceptInvitation, request: Request) -> Response:
    """Become an active member, by the token of an invitation's link and without a key. Again is no error."""
    desk: Desk = request.app.state.desk
    organization_id, user_id = invitations.find_invited(desk, body.token)
    caller = Caller(user_id=user_id, trace_id=trace_id_of(request.scope))
    with desk.writing(organization_id, caller) as writing:
        invitations.accept(writing, body.token)
        shown = rendering.user(writing, members.view(writing, user_id))
        return Answer(shown, headers={REVISION_HEADER: token_after(writing)}).response()


@routes.patch(USER + "/memberships", **documented(shapes.UserAnswer, writes=True))
def update_memberships(
    organization_id: str, user_id: str, body: shapes.UpdateMemberships, exchange: Exchanged
) -> Response:
    """All roles and departments of a member, in place of the present ones."""

    def work(writing: Writing) -> Answer:
        changed = members.update_memberships(
            writing, user_id, role_ids=body.role_ids, department_ids=body.department_ids
        )
        return Answer(rendering.user(writing, changed))

    return exchange.write(organization_id, work)


@routes.post(USER + "/deactivate", **documented(shapes.UserAnswer, writes=True))
def deactivate_user(organization_id: str, user_id: str, body: Deactivation, exchange: Exchanged) -> Response:
    """End the access of a member for the time being. What they own goes to the department, if one is named."""

    def work(writing: Writing) -> Answer:
        found = members.deactivate(writing, user_id, heir_id=body.transfer_resources_to_department_id)
        return Answer(rendering.user(writing, found))

    return exchange.write(organization_id, work)


@routes.post(USER + "/reactivate", **documented(shapes.UserAnswer, writes=True))
def reactivate_user(organization_id: str, user_id: str, exchange: Exchanged) -> Response:
    """Make a pending or deactivated member active."""

    def work(writing: Writing) -> Answer:
        return Answer(rendering.user(writing, members.set_state(writing, user_id, "active")))

    return exchange.write(organization_id, work)


@routes.delete(USER, **documented(None, writes=True, status=204))
def remove_user(
    organization_id: str, user_id: str, exchange: Exchanged, body: shapes.RemoveUser | None = None
) -> Response:
    """Remove a member, with memberships, keys and the grants that name them."""
    return _remove(exchange, organization_id, user_id, body.transfer_resources_to_department_id if body else None)


@routes.get(ORGANIZATION + "/my-access", **documented(shapes.MyAccess))
def get_my_access(organization_id: str, exchange: Exchanged) -> Response:
    """One's own capabilities, what one owns, and what is shared with one."""
    with exchange.reading(organization_id) as reading:
        found = permissions.own_access(reading)
        return Answer(rendering.my_access(reading, found, organizations.member_role(reading))).response()


@routes.get(USER + "/ui-access", **documented(shapes.UiAccess))
def get_ui_access(organization_id: str, user_id: str, exchange: Exchanged) -> Response:
    """What a user interface may show: to oneself, or to those who keep members or roles about others."""
    with exchange.reading(organization_id) as reading:
        return Answer(rendering.ui_access(reading, permissions.effective(reading, user_id))).response()


@routes.post(USERS, **documented(shapes.MemberList, asks=True), **_READS)
def list_members(organization_id: str, body: MembersWanted, exchange: Exchanged) -> Response:
    """A page of the members, for every member. Nothing is changed."""
    column = body.sort_column or "created_at"
    wanted = Wanted(
        search=body.search_term,
        role_id=body.role_id,
        state=body.status_id,
        with_deactivated=bool(body.include_inactive),
        order=Order(member_lists.SORTS.get(column, column), is_descending=body.sort_direction == "desc"),
    )
    skip, take = body.skip or 0, body.take or DEFAULT_PAGE
    with exchange.reading(organization_id) as reading:
        found = member_lists.list_members(reading, wanted, skip=skip, limit=take)
        shown = rendering.members(reading, found.items)
        answer = {"users": shown, "total_users_count": found.total, "skip": skip, "take": take}
        return Answer(answer).response()


@routes.post(USERS + "/ids", **documented(list[str], asks=True), **_READS)
def get_member_ids(organization_id: str, exchange: Exchanged, include_deleted: bool = False) -> Response:
    """The user ids of all members, in order; on request with those who were removed. Nothing is changed."""
    with exchange.reading(organization_id) as reading:
        return Answer(member_lists.list_ids(reading, with_removed=include_deleted)).response()


@routes.get(USER, **documented(shapes.MemberAnswer))
def get_member(organization_id: str, user_id: str, exchange: Exchanged) -> Response:
    """A member, by `usr_` or `orgusr_` id. For every member."""
    with exchange.reading(organization_id) as reading:
        return Answer(rendering.members(reading, [members.view(reading, _user_id(user_id))])[0]).response()


@routes.put(USER, **documented(shapes.MemberAnswer, writes=True))
def update_member(organization_id: str, user_id: str, body: shapes.UpdateMember, exchange: Exchanged) -> Response:
    """Another name, role (in place of all roles) or status."""

    def work(writing: Writing) -> Answer:
        changed = members.update(
            writing,
            _user_id(user_id),
            role_id=body.role_id,
            state=body.status_id,
            first_name=body.first_name,
            last_name=body.last_name,
        )
        return Answer(rendering.members(writing, [changed])[0])

    return exchange.write(organization_id, work)


@routes.delete(USER + "/delete", **documented(None, writes=True, status=204))
def delete_member(organization_id: str, user_id: str, exchange: Exchanged) -> Response:
    """Remove a member, who can be restored, with memberships, keys and the grants that name them."""
    return _remove(exchange, organization_id, _user_id(user_id), None)


@routes.post(USER + "/restore", **documented(None, writes=True, status=204))
def restore_member(organization_id: str, user_id: str, exchange: Exchanged) -> Response:
    """Bring a removed member back, with the base role Member and without anything else that they had."""
    return exchange.write(organization_id, done(lambda writing: members.restore(writing, _user_id(user_id))))


def _remove(exchange: Exchanged, organization_id: str, user_id: str, heir_id: str | None) -> Response:
    return exchange.write(organization_id, done(lambda writing: members.remove(writing, user_id, heir_id=heir_id)))


def _user_id(given: str) -> str:
    """The id of a user, also from that of the membership."""
    if given.startswith(ids.ORGANIZATION_USER):
        return ids.USER + given.removeprefix(ids.ORGANIZATION_USER)
    return given
