"""Run with the older SDK on the path: asks for the resolved access and prints what that SDK made of the answer."""

import sys
from importlib.metadata import version

import httpx
from aitronos import Aitronos


def main(url: str, secret: str, organization_id: str, user_id: str) -> None:
    with httpx.Client() as transport:
        sdk = Aitronos(api_key=secret, base_url=url, httpx_client=transport)
        found = sdk.access_control.get_resolved_access(organization_id, user_id)
    print(version("aitronos-sdk"))
    print(found.model_dump_json())


if __name__ == "__main__":
    main(*sys.argv[1:])
