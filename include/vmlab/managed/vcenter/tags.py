"""Categories, tags, and the objects that tags are attached to. A vCenter keeps them beside its inventory."""

import uuid
from collections.abc import Iterable
from typing import Any

from vmlab.api import moid, wsdl_name
from vmlab.managed.site import Site

Row = dict[str, Any]
"""A category or a tag as clients see it."""
CARDINALITIES = ("SINGLE", "MULTIPLE")


class TaggingError(Exception):
    """A call that is refused. `kind` is vAPI's word for the reason, in capitals."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Tagging:
    """The tags of a site. Everything lasts across restarts."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def categories(self) -> dict[str, Row]:
        """Return all categories, by id."""
        return dict(self._site.world.meta("tag_categories") or {})

    def tags(self) -> dict[str, Row]:
        """Return all tags, by id."""
        return dict(self._site.world.meta("tags") or {})

    def category(self, key: str) -> Row:
        """Return one category."""
        return _known(self.categories(), key, "category")

    def tag(self, key: str) -> Row:
        """Return one tag."""
        return _known(self.tags(), key, "tag")

    def add_category(self, spec: Row) -> str:
        """Make a category; return its id. Its name has to be free."""
        _require(spec, ("name", "description", "cardinality", "associable_types"))
        if spec["cardinality"] not in CARDINALITIES:
            raise TaggingError("INVALID_ARGUMENT", f"no cardinality {spec['cardinality']}")
        return self._add("tag_categories", self.categories(), "Category", {**spec, "used_by": []})

    def add_tag(self, spec: Row) -> str:
        """Make a tag; return its id. Its name has to be free in its category."""
        _require(spec, ("name", "description", "category_id"))
        self.category(spec["category_id"])
        return self._add("tags", self.tags(), "Tag", {**spec, "used_by": []})

    def attach(self, tag: str, kind: str, mo_id: str) -> None:
        """Attach a tag to an object of a type that its category allows; doing it again changes nothing."""
        category = self.category(self.tag(tag)["category_id"])
        if category["associable_types"] and kind not in category["associable_types"]:
            raise TaggingError("INVALID_ARGUMENT", f"{category['name']} is not for a {kind}")
        attached = self._attached()
        siblings = [other for other, row in self.tags().items() if row["category_id"] == category["id"]]
        taken = any([kind, mo_id] in attached.get(other, []) for other in siblings if other != tag)
        if category["cardinality"] == "SINGLE" and taken:
            raise TaggingError("INVALID_ARGUMENT", f"{mo_id} has a tag of {category['name']} already")
        self._keep(tag, [*(each for each in attached.get(tag, []) if each != [kind, mo_id]), [kind, mo_id]])

    def detach(self, tag: str, kind: str, mo_id: str) -> None:
        """Take a tag off an object, which may lack it."""
        self.tag(tag)
        self._keep(tag, [each for each in self._attached().get(tag, []) if each != [kind, mo_id]])

    def objects(self, tag: str) -> list[tuple[str, str]]:
        """Return the type and id of each object that has a tag and still exists."""
        self.tag(tag)
        alive = {(wsdl_name(type(ref)), moid(ref)) for ref in self._site.world.all(object)}
        return [(kind, mo_id) for kind, mo_id in self._attached().get(tag, []) if (kind, mo_id) in alive]

    def tags_on(self, kind: str, mo_id: str) -> list[str]:
        """Return the ids of the tags that an object has."""
        return [tag for tag, objects in self._attached().items() if [kind, mo_id] in objects]

    def _attached(self) -> dict[str, list[list[str]]]:
        return dict(self._site.world.meta("attached_tags") or {})

    def _keep(self, tag: str, objects: list[list[str]]) -> None:
        with self._site.world.transaction():
            self._site.world.set_meta("attached_tags", {**self._attached(), tag: objects})

    def _add(self, where: str, known: dict[str, Row], kind: str, row: Row) -> str:
        same = [each for each in known.values() if each.get("category_id") == row.get("category_id")]
        if any(each["name"] == row["name"] for each in same):
            raise TaggingError("ALREADY_EXISTS", f"{row['name']} exists")
        key = f"urn:vmomi:InventoryService{kind}:{uuid.uuid4()}:GLOBAL"
        with self._site.world.transaction():
            self._site.world.set_meta(where, {**known, key: {**row, "id": key}})
        return key


def _known(rows: dict[str, Row], key: str, what: str) -> Row:
    if key not in rows:
        raise TaggingError("NOT_FOUND", f"there is no {what} {key}")
    return rows[key]


def _require(spec: Row, fields: Iterable[str]) -> None:
    missing = [name for name in fields if spec.get(name) is None]
    if missing or not spec["name"]:
        raise TaggingError("INVALID_ARGUMENT", f"missing: {', '.join(missing) or 'name'}")
