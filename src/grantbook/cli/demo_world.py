"""The demo organization as data: Northwind Labs, small enough to know by heart, with one of everything.

`demo.py` writes it down in this order. Times are days from the founding; `LATER` is what happened afterwards.
"""

from typing import Final, NamedTuple

ORGANIZATION_ID: Final = "org_demo"
ORGANIZATION_NAME: Final = "Northwind Labs"
OWNER_ID: Final = "usr_ada"
OWNER_NAME: Final = "Ada Moreau"
OWNER_EMAIL: Final = "ada@northwind.example"

FOUNDED_DAYS_AGO: Final = 30
LATER_DAYS_AGO: Final = 7

SLICE: Final = "knowledge_slice"
STORE: Final = "vector_store"
ASSISTANT: Final = "assistant"
RULE: Final = "rule"


class Department(NamedTuple):
    """A node of the tree, given after the one above it."""

    id: str
    name: str
    parent_id: str | None = None


class CustomRole(NamedTuple):
    """A role beside the base ones."""

    id: str
    name: str
    description: str
    capabilities: tuple[str, ...] = ()


class Person(NamedTuple):
    """A member; `roles` are ids of custom roles or names of base ones."""

    id: str
    name: str
    departments: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    is_active: bool = True

    @property
    def email(self) -> str:
        return f"{self.id.removeprefix('usr_')}@northwind.example"


class Thing(NamedTuple):
    """An entity; `access_mode` None is what its type says, `holds` are ids of slices, `within` ids of slices."""

    type: str
    id: str
    name: str
    owner: tuple[str, str]
    access_mode: str | None = None
    targets: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    description: str | None = None


class Given(NamedTuple):
    """A grant on an entity; `starts` and `expires` are days after the founding."""

    grantee: tuple[str, str]
    level: str
    starts: int | None = None
    expires: int | None = None
    reason: str | None = None


EVERYBODY: Final = ("organization", ORGANIZATION_ID)


def user(name: str) -> tuple[str, str]:
    """The principal of a person, by the short name."""
    return "user", f"usr_{name}"


def department(name: str) -> tuple[str, str]:
    """The principal of a department, by the short name."""
    return "department", f"dept_{name}"


def role(name: str) -> tuple[str, str]:
    """The principal of a custom role, by the short name."""
    return "role", f"role_{name}"


DEPARTMENTS: Final = (
    Department("dept_engineering", "Engineering"),
    Department("dept_platform", "Platform", "dept_engineering"),
    Department("dept_data", "Data Platform", "dept_platform"),
    Department("dept_research", "Research", "dept_engineering"),
    Department("dept_sales", "Sales"),
    Department("dept_emea", "Sales EMEA", "dept_sales"),
    Department("dept_people", "People"),
)

ROLES: Final = (
    CustomRole("role_analyst", "Analyst", "Reads numbers wherever they are"),
    CustomRole(
        "role_curator",
        "Knowledge Curator",
        "Keeps the knowledge in order",
        ("manage_knowledge_slices", "create_knowledge"),
    ),
)

PEOPLE: Final = (
    Person("usr_ben", "Ben Castillo", ("dept_platform",), ("Admin",)),
    Person("usr_chloe", "Chloe Nakamura", ("dept_engineering",), ("role_curator",)),
    Person("usr_dev", "Dev Patel", ("dept_platform",)),
    Person("usr_elif", "Elif Kaya", ("dept_data",), ("role_analyst",)),
    Person("usr_felix", "Felix Brandt", ("dept_data",), ("role_curator",)),
    Person("usr_gina", "Gina Rossi", ("dept_sales",)),
    Person("usr_hugo", "Hugo Lindqvist", ("dept_emea",)),
    Person("usr_ines", "Ines Duarte", ("dept_people",)),
    Person("usr_jonas", "Jonas Weber"),
    Person("usr_kira", "Kira Sato", ("dept_research",), ("role_analyst",)),
    Person("usr_leo", "Leo Martin", ("dept_sales",), is_active=False),
)

THINGS: Final = (
    Thing(SLICE, "kslice_handbook", "Company Handbook", EVERYBODY, description="How we work"),
    Thing(SLICE, "kslice_runbooks", "Engineering Runbooks", user("chloe"), description="What to do at night"),
    Thing(SLICE, "kslice_pipeline", "Sales Pipeline", user("gina"), description="Who may buy what, and when"),
    Thing(SLICE, "kslice_people", "People Files", department("people"), description="Contracts and reviews"),
    Thing(SLICE, "kslice_legacy", "Legacy Wiki", user("ben"), description="The wiki of 2019"),
    Thing(
        SLICE,
        "kslice_onboarding",
        "Onboarding Bundle",
        user("ines"),
        holds=("kslice_handbook", "kslice_runbooks"),
        description="What everybody reads in the first week",
    ),
    Thing(STORE, "vs_handbook", "Handbook pages", EVERYBODY, within=("kslice_handbook",)),
    Thing(STORE, "vs_runbooks", "Runbook pages", user("chloe"), "private", within=("kslice_runbooks",)),
    Thing(STORE, "vs_incidents", "Incident reports", user("chloe"), "private", within=("kslice_runbooks",)),
    Thing(STORE, "vs_crm", "CRM export", user("gina"), "department", ("dept_sales",), within=("kslice_pipeline",)),
    Thing(STORE, "vs_contracts", "Contracts", user("ines"), "private", within=("kslice_pipeline", "kslice_people")),
    Thing(STORE, "vs_wiki", "Wiki dump", user("ben"), "private", within=("kslice_legacy",)),
    Thing(ASSISTANT, "asst_helpdesk", "Help Desk", user("ben"), "organization"),
    Thing(ASSISTANT, "asst_deals", "Deal Coach", user("gina")),
    Thing(RULE, "rule_tone", "Tone of voice", user("ines"), description="Friendly, short, no jargon."),
    Thing(RULE, "rule_privacy", "Personal data", user("ines"), description="Never show a home address."),
    Thing(RULE, "rule_discounts", "Discounts", user("gina"), description="Up to 10 % without asking."),
)

GRANTS: Final[dict[tuple[str, str], tuple[Given, ...]]] = {
    (SLICE, "kslice_handbook"): (Given(EVERYBODY, "read"), Given(department("people"), "write")),
    (SLICE, "kslice_runbooks"): (
        Given(department("engineering"), "add_new"),
        Given(department("data"), "write"),
        Given(user("jonas"), "read", expires=60, reason="Migration project"),
    ),
    (SLICE, "kslice_pipeline"): (Given(department("sales"), "write"), Given(role("analyst"), "read")),
    (SLICE, "kslice_people"): (Given(user("ben"), "read", reason="Payroll export"),),
    (SLICE, "kslice_onboarding"): (Given(role("curator"), "overwrite"), Given(user("leo"), "read")),
    (SLICE, "kslice_legacy"): (Given(department("engineering"), "read"), Given(user("dev"), "admin")),
    (STORE, "vs_incidents"): (Given(department("research"), "read"), Given(user("kira"), "write")),
    (STORE, "vs_crm"): (Given(role("analyst"), "overwrite"), Given(user("chloe"), "read")),
    (STORE, "vs_contracts"): (
        Given(user("jonas"), "read", expires=14, reason="Audit of the spring contracts"),
        Given(user("elif"), "write", starts=60, reason="Year-end review"),
    ),
    (ASSISTANT, "asst_helpdesk"): (Given(EVERYBODY, "read"), Given(user("dev"), "write")),
    (ASSISTANT, "asst_deals"): (Given(department("sales"), "write"), Given(user("ines"), "read")),
}

RULE_GRANTS: Final[dict[str, tuple[Given, ...]]] = {
    "rule_tone": (Given(("all", "*"), "view"), Given(EVERYBODY, "use")),
    "rule_privacy": (Given(EVERYBODY, "use"), Given(department("people"), "modify")),
    "rule_discounts": (Given(department("sales"), "use"), Given(role("analyst"), "view")),
}

LATER_ARCHIVED: Final = (SLICE, "kslice_legacy")
LATER_DEACTIVATED: Final = "usr_hugo"
LATER_REVOKED: Final = ((STORE, "vs_crm"), user("chloe"))
