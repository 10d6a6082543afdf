"""Entity types: the built-in ones, and files that add more or are refused with the type's name."""

from pathlib import Path
from typing import Any

import pytest

from grantbook.bootstrap import load_vocabulary
from grantbook.model.errors import ConfigurationError, ValidationFailed
from grantbook.model.vocabulary import ACCESS_MODES, BUILT_IN, OWNER_TYPES, EntityType, Vocabulary

NOTEBOOK: dict[str, Any] = {
    "levels": ["view", "comment", "edit"],
    "id_prefix": "nb_",
    "owner_levels": {"user": "edit", "department": "comment", "organization": "view"},
}


def _extended(**spec: Any) -> EntityType:
    return BUILT_IN.extended({"entity_types": {"notebook": {**NOTEBOOK, **spec}}}).entity_type("notebook")


def test_the_built_in_types_have_the_ladders_of_the_design() -> None:
    knowledge = ("read", "add_new", "overwrite", "write", "admin")
    assert {name: kind.levels for name, kind in BUILT_IN.types.items()} == {
        "knowledge_slice": knowledge,
        "vector_store": knowledge,
        "assistant": knowledge,
        "rule": ("view", "use", "modify"),
    }
    assert BUILT_IN.bound_types == ("knowledge_slice", "vector_store", "assistant")
    everyone = {name for name, kind in BUILT_IN.types.items() if "all" in kind.grantee_types}
    assert everyone == {"rule"}


@pytest.mark.parametrize("kind", BUILT_IN.types.values(), ids=BUILT_IN.types)
def test_levels_rank_from_lowest_to_highest(kind: EntityType) -> None:
    assert [kind.rank(level) for level in kind.levels] == list(range(len(kind.levels)))
    assert (kind.lowest_level, kind.top_level) == (kind.levels[0], kind.levels[-1])
    assert kind.owner_levels["user"] == kind.top_level


@pytest.mark.parametrize("level", ["", "ADMIN", "own", "read ", "modify"])
def test_an_unknown_level_is_an_error_that_names_the_known_ones(level: str) -> None:
    kind = BUILT_IN.entity_type("vector_store")
    assert kind.rank("read") == 0
    with pytest.raises(ValidationFailed) as raised:
        kind.rank(level)
    assert raised.value.details["field"] == "access_level"
    assert "read, add_new, overwrite, write, admin" in raised.value.details["message"]


def test_an_unknown_type_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValidationFailed) as raised:
        BUILT_IN.entity_type("Rule")
    assert raised.value.details["field"] == "entity_type"
    assert "assistant, knowledge_slice, rule, vector_store" in raised.value.details["message"]


def test_a_file_adds_types_beside_the_built_in_ones(tmp_path: Path) -> None:
    file = tmp_path / "vocabulary.toml"
    file.write_text(
        '[entity_types.notebook]\nlevels = ["view", "edit"]\ncontains = ["page"]\n'
        'default_access_mode = "organization"\n'
        '[entity_types.page]\nlevels = ["view", "edit"]\nid_prefix = "pg_"\n'
    )
    vocabulary = load_vocabulary(str(file))
    assert set(vocabulary.types) == {*BUILT_IN.types, "notebook", "page"}
    notebook = vocabulary.entity_type("notebook")
    assert notebook.owner_levels == {"user": "edit", "department": "view", "organization": "view"}
    assert notebook.is_bound
    assert notebook.default_access_mode == "organization"
    assert vocabulary.bound_types[-2:] == ("notebook", "page")
    assert load_vocabulary(None) is BUILT_IN


def test_a_type_for_everyone_is_not_bound_to_the_organization() -> None:
    kind = _extended(bound=False, grantee_types=["user", "all"])
    assert not kind.is_bound
    assert kind.grantee_types == {"user", "all"}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"levels": []}, "needs levels"),
        ({"levels": ["view", "view"]}, "each named once"),
        ({"owner_levels": {"user": "edit"}}, "owner_levels for user, department, organization"),
        ({"owner_levels": dict.fromkeys(OWNER_TYPES, "own")}, "each one of its levels"),
        ({"grantee_types": ["user", "robot"]}, "robot"),
        ({"grantee_types": ["all"]}, "bound to the organization"),
        ({"default_access_mode": "secret"}, "default_access_mode"),
        ({"contains": ["paragraph"]}, "paragraph"),
        ({"contains": ["vector_store"]}, "same levels"),
        ({"bound": False, "contains": ["notebook"], "colour": "red"}, "colour"),
        ({"id_prefix": "NB-"}, "id_prefix"),
        ({"id_prefix": "nb"}, "id_prefix"),
    ],
)
def test_an_impossible_type_is_refused_by_name(spec: dict[str, Any], says: str) -> None:
    assert _extended().levels == ("view", "comment", "edit")
    with pytest.raises(ConfigurationError) as raised:
        _extended(**spec)
    assert "'notebook'" in raised.value.explanation
    assert says in raised.value.explanation


@pytest.mark.parametrize(
    "spec",
    [
        {"levels": "view"},
        {"levels": [1, 2]},
        {"levels": ["view", ["edit"]]},
        {"levels": {"view": 1}},
        {"levels": [""]},
        {"owner_levels": "edit"},
        {"owner_levels": ["edit"]},
        {"owner_levels": {"user": ["edit"], "department": "view", "organization": "view"}},
        {"grantee_types": "user"},
        {"grantee_types": [1]},
        {"contains": 5},
        {"contains": "notebook"},
        {"contains": [["notebook"]]},
        {"bound": "no"},
        {"default_access_mode": 3},
        {"default_access_mode": ["private"]},
        {"id_prefix": 7},
    ],
    ids=str,
)
def test_a_setting_of_the_wrong_kind_is_refused_by_name(spec: dict[str, Any]) -> None:
    """`bound = "no"` must not come to mean yes, nor `levels = "view"` four levels of one letter."""
    with pytest.raises(ConfigurationError, match="'notebook'"):
        _extended(**spec)


@pytest.mark.parametrize("spec", [5, "view", ["view"], True], ids=str)
def test_a_type_that_is_no_table_is_refused_by_name(spec: object) -> None:
    with pytest.raises(ConfigurationError, match="'notebook'"):
        BUILT_IN.extended({"entity_types": {"notebook": spec}})


@pytest.mark.parametrize(
    "document", [{"entity_types": ["notebook"]}, {"entity_types": 3}, {"entity_typs": {}}], ids=str
)
def test_a_document_of_another_shape_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="entity_types"):
        BUILT_IN.extended(document)


@pytest.mark.parametrize("name", ["", "Note", "note book", "note/book", "note-book", "1note", "n" * 65])
def test_a_name_that_would_not_fit_into_an_address_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="needs a name"):
        BUILT_IN.extended({"entity_types": {name: NOTEBOOK}})


@pytest.mark.parametrize("name", BUILT_IN.types)
def test_a_built_in_type_cannot_be_redefined(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name!r} is built in"):
        BUILT_IN.extended({"entity_types": {name: NOTEBOOK}})


@pytest.mark.parametrize("text", ["[entity_types", "levels = ", "\xff"])
def test_a_file_that_cannot_be_read_is_refused_by_path(tmp_path: Path, text: str) -> None:
    file = tmp_path / "vocabulary.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"vocabulary\.toml"):
        load_vocabulary(str(file))
    with pytest.raises(ConfigurationError, match="nowhere"):
        load_vocabulary(str(tmp_path / "nowhere.toml"))


def test_a_container_and_its_contents_have_the_same_ladder() -> None:
    for vocabulary in (
        BUILT_IN,
        BUILT_IN.extended({"entity_types": {"notebook": {**NOTEBOOK, "contains": ["notebook"]}}}),
    ):
        assert isinstance(vocabulary, Vocabulary)
        for kind in vocabulary.types.values():
            assert all(vocabulary.types[name].levels == kind.levels for name in kind.contains)


def test_the_default_access_mode_shows_nothing_that_was_not_meant_to_be_shown() -> None:
    modes = {name: kind.default_access_mode for name, kind in BUILT_IN.types.items()}
    assert set(modes.values()) <= set(ACCESS_MODES)
    assert modes == {
        "knowledge_slice": "private",
        "vector_store": "organization",
        "assistant": "private",
        "rule": "private",
    }
