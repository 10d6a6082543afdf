"""`resolved-access` has two published shapes: the SDK 0.8.104 reads one, 0.8.178 the other. Ours is both."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from aitronos import Aitronos

from tests.platform import old_sdk
from tests.platform.house import House
from tests.serving import Server

OLD: Final = "0.8.104"
ROOT: Final = Path(__file__).parents[2]
DIRECTORY: Final = ROOT / f".sdk-{OLD}"
Json = dict[str, Any]


def parsed_by_the_old_sdk(server: Server, house: House) -> Json:
    """The answer as the older SDK understood it, in a process of its own."""
    assert (DIRECTORY / "aitronos").is_dir(), f"{DIRECTORY} is missing: run `make setup`"
    done = subprocess.run(
        [sys.executable, old_sdk.__file__, server.url, house.tenant.owner.secret, house.id, house.user],
        env={**os.environ, "PYTHONPATH": str(DIRECTORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    version, _, answer = done.stdout.partition("\n")
    assert version == OLD
    parsed: Json = json.loads(answer)
    return parsed


def paths(entry: Json) -> list[tuple[str, str]]:
    return [(path["type"], path["access_level"]) for path in entry["grant_paths"]]


def test_resolved_access_is_read_alike_by_both(sdk: Aitronos, server: Server, house: House) -> None:
    tenant = house.tenant
    department = tenant.department(None, house.user)
    role = tenant.role(to=house.user)
    inside = tenant.entity("vector_store", containers=(house.slice,))
    composite = sdk.knowledge.create_composite(house.id, name="All", member_slice_ids=[house.slice.id])
    house.create(sdk, house.slice, "write", to=department, kind="department")
    house.create(sdk, house.store, "add_new", to=role, kind="role")
    house.create(sdk, house.assistant)
    tenant.grant(house.slice._replace(id=composite.id), "read", house.user)

    old = parsed_by_the_old_sdk(server, house)
    new = sdk.access_control.get_resolved_access(house.id, house.user).model_dump()

    assert old["user_id"] == new["user_id"] == house.user
    by_old = {(entry["entity_type"], entry["entity_id"]): entry for entry in old["entities"]}
    assert set(by_old) == {house.slice, house.store, house.assistant, inside, ("knowledge_slice", composite.id)}
    by_new = {("knowledge_slice", entry["slice_id"]): entry for entry in new["slice_access"]}
    by_new |= {("vector_store", entry["store_id"]): entry for entry in new["store_access"]}
    assert set(by_new) == set(by_old) - {house.assistant}
    for place, entry in by_new.items():
        assert entry["access_level"] == by_old[place]["access_level"]
        assert paths(entry) == paths(by_old[place])

    (by_department, through_composite) = by_old[house.slice]["grant_paths"]
    assert by_department["department_id"] == department
    assert (through_composite["type"], through_composite["composite_id"]) == ("direct", composite.id)
    assert by_old[house.store]["grant_paths"][0]["role_id"] == role
    assert by_new[house.store]["grant_paths"][0]["source_id"] == role
