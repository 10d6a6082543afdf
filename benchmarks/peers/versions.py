"""Which version of each peer is compared: the one place to change."""

from typing import Final

GO_MODULES: Final = {
    "spicedb": "github.com/authzed/spicedb/cmd/spicedb@v1.56.2",
    "openfga": "github.com/openfga/openfga/cmd/openfga@v1.22.1",
    "ghz": "github.com/bojand/ghz/cmd/ghz@v0.120.0",
}
NPM_PACKAGES: Final = {"cerbos": "@cerbos/cerbos-linux-x64@0.55.0"}
PYTHON_PACKAGES: Final = {"casbin": "casbin==1.43.0", "cedarpy": "cedarpy==4.12.2"}


def version(name: str) -> str:
    """The pinned version alone."""
    pinned = {**GO_MODULES, **NPM_PACKAGES, **PYTHON_PACKAGES}[name]
    return pinned.rpartition("@")[2].rpartition("=")[2].removeprefix("v")
