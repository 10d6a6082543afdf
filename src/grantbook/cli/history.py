"""`grantbook verify`: whether anybody changed the history behind the book's back."""

import click

from grantbook import settings
from grantbook.cli import options
from grantbook.cli.errors import Exit
from grantbook.cli.output import print_json, print_table
from grantbook.cli.places import opened
from grantbook.cli.rendering import Json
from grantbook.model.errors import TamperedHistory
from grantbook.store import history
from grantbook.store.port import Store


@click.command()
@options.database
@options.as_json
def verify(*, database: str | None, as_json: bool) -> int:
    """Check the hash chain of every organization's changes. Exit code 3 where one does not hold."""
    with opened(settings.load({"database": database})) as desk:
        checked = [_verified(desk.store, each) for each in desk.store.organization_ids()]
    documents = [document for document, _ in checked]
    if as_json:
        print_json({"organizations": documents})
    else:
        rows = [
            (each["organization_id"], "intact" if each["is_intact"] else "DAMAGED", str(each["changes"] or ""))
            for each in documents
        ]
        print_table(("organization_id", "history", "changes"), rows)
    for _, damage in checked:
        if damage is not None:
            raise damage
    return Exit.DONE


def _verified(store: Store, organization_id: str) -> tuple[Json, TamperedHistory | None]:
    try:
        count = history.verify(store, organization_id)
    except TamperedHistory as damage:
        return {"organization_id": organization_id, "is_intact": False, "changes": None}, damage
    return {"organization_id": organization_id, "is_intact": True, "changes": count}, None
