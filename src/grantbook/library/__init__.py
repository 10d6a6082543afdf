"""The book inside a Python application: the same use-cases as the server, in process and synchronous.

    from grantbook import Grantbook

    with Grantbook("sqlite:///grants.db") as book:
        acme = book.create_organization("Acme", owner_email="ada@acme.example")
        acme.register_entity("assistant", "asst_helpdesk", name="Help desk", owner=("user", acme.owner_id))
        bob = acme.invite_member("bob@acme.example", is_active=True)
        acme.create_grant("assistant", "asst_helpdesk", ("user", bob.member.user_id), "read")
        acme.check(bob.member.user_id, "read", "assistant", "asst_helpdesk").allowed

The application is trusted: it acts as the system, unless it asks for a book `acting_as` a user, who then has that
user's rights and no more. Each call is one transaction. Times are aware datetimes; an answer shows instants.
"""

from grantbook.library.book import Grantbook, KeyHolder
from grantbook.library.directory import NewKey
from grantbook.library.organization import NewGrant, OrganizationBook

__all__ = ["Grantbook", "KeyHolder", "NewGrant", "NewKey", "OrganizationBook"]
