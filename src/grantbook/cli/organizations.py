"""`grantbook init`: an organization, its owner, and the first key."""

import click

from grantbook import settings
from grantbook.cli import options
from grantbook.cli.errors import Exit
from grantbook.cli.output import print_json, print_secret
from grantbook.cli.places import opened
from grantbook.model import ids
from grantbook.service import keys, organizations
from grantbook.service.desk import SYSTEM, again_if_aborted


@click.command()
@click.option("--name", required=True, metavar="NAME", help="The name of the new organization, no id.")
@click.option("--email", required=True, metavar="EMAIL", help="The owner's address.")
@click.option("--full-name", metavar="NAME", help="The owner's name.")
@click.option("--organization-id", type=options.ORGANIZATION_ID, metavar="ID", help="An id of your own, org_...")
@click.option("--user-id", type=options.USER_ID, metavar="ID", help="An id of your own for the owner, usr_...")
@options.database
@options.as_json
@again_if_aborted
def init(
    *,
    name: str,
    email: str,
    full_name: str | None,
    organization_id: str | None,
    user_id: str | None,
    database: str | None,
    as_json: bool,
) -> int:
    """Make an organization with its owner and an API key, and the database if there is none yet.

    Each call makes another organization, also under a name that one has already.
    """
    given = settings.load({"database": database})
    with opened(given, may_create=True) as desk:
        chosen = organization_id or ids.new_id(ids.ORGANIZATION, desk.random)
        with desk.writing(chosen, SYSTEM) as writing:
            owner = organizations.found(writing, name=name, owner_email=email, owner_name=full_name, owner_id=user_id)
            _, secret = keys.create(writing, user_id=owner.user_id, name="initial")
    made = {"organization_id": chosen, "user_id": owner.user_id, "api_key": secret}
    if as_json:
        print_json(made)
        return Exit.DONE
    print_secret(list(made.items()))
    return Exit.DONE
