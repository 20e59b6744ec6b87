"""The JSON Schema of an experiment's YAML file, made from the settings themselves.

`python -m inat_ray.config.schema` prints it. Editors complete and check an experiment by it, and
docs/settings.md is made from it. It is draft 7, which the YAML support of common editors speaks.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from inat_ray.config.experiment import Experiment
from inat_ray.config.parameter_spec import TAKES, ParameterSpec
from inat_ray.config.space import NOT_SEARCHED, SEARCHABLE, is_within

Schema = dict[str, Any]

IMPLIED = {"constant", "categorical", "int_uniform", "uniform"}
"""Distributions that need not be named, since their keys tell."""

NULL = {"type": "null"}

ARGUMENT = r"^model\.args\.."
"""An argument of a network of one's own: nobody else knows which it takes."""


def experiment_schema() -> Schema:
    """Returns the schema. It knows each setting alone, not which settings go together."""
    schema = _tidied(Experiment.model_json_schema())
    for part in (schema, *schema["$defs"].values()):
        part.pop("required", None)  # the file that this one extends may have it
    schema["properties"] = {
        "extends": {
            "type": "string",
            "description": "Another experiment, relative to this file. Its settings hold where this"
            " file sets none: mappings merge key by key, and all else replaces.",
        },
        **schema["properties"],
    }
    _add_search_space(schema)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "An experiment of inat_ray",
        **schema,
    }


def _tidied(part: Any) -> Any:
    """Returns it without what an editor would only repeat, and with descriptions in one line."""
    if isinstance(part, list):
        return [_tidied(each) for each in part]
    if not isinstance(part, dict):
        return part
    tidied: Schema = {}
    for key, value in part.items():
        if key == "properties":
            tidied[key] = {name: _tidied(below) for name, below in value.items()}
        elif key == "description":
            tidied[key] = " ".join(value.split())
        elif key == "oneOf":
            tidied["anyOf"] = _tidied(value)  # a model without a `kind` may fit both families
        elif not (key == "title" or (key == "default" and isinstance(value, dict))):
            tidied[key] = _tidied(value)
    return tidied


def _add_search_space(schema: Schema) -> None:
    """Describes `search.parameters` and `search.first`, whose keys are names of settings."""
    settings: defaultdict[str, list[str]] = defaultdict(list)
    for top in dict.fromkeys(name.partition(".")[0] for name in SEARCHABLE):
        for name, place in _settings(schema, top, f"#/properties/{top}"):
            if is_within(name, SEARCHABLE):
                settings[name].append(place)
    schema["$defs"] |= _distributions()
    schema["$defs"]["When"]["propertyNames"] = {
        "anyOf": [{"enum": list(settings)}, {"pattern": ARGUMENT}]
    }
    search = schema["$defs"]["SearchConfig"]["properties"]
    search["parameters"] |= {
        "properties": {name: _parameter(schema, places) for name, places in settings.items()},
        "patternProperties": {ARGUMENT: {"anyOf": [{"$ref": "#/$defs/Distribution"}, NULL]}},
        "additionalProperties": False,
    }
    search["first"]["items"] = {
        "type": "object",
        "properties": {name: _one_of(places) for name, places in settings.items()},
        "patternProperties": {ARGUMENT: {}},
        "additionalProperties": False,
    }


def _settings(schema: Schema, name: str, place: str) -> Iterator[tuple[str, str]]:
    """Yields (dotted name, its place in the schema) of a setting and of all below it."""
    if name not in NOT_SEARCHED:
        yield name, place
    part = _at(schema, place)
    for each in (part, *part.get("anyOf", ())):
        if "$ref" in each:
            for key in _at(schema, each["$ref"])["properties"]:
                yield from _settings(schema, f"{name}.{key}", f"{each['$ref']}/properties/{key}")


def _at(schema: Schema, place: str) -> Schema:
    for key in place.removeprefix("#/").split("/"):
        schema = schema[key]
    return schema


def _one_of(places: list[str]) -> Schema:
    """Returns the schema of a value; a setting of both families of models is in two places."""
    refs = [{"$ref": place} for place in places]
    return refs[0] if len(refs) == 1 else {"anyOf": refs}


def _parameter(schema: Schema, places: list[str]) -> Schema:
    value = _one_of(places)
    setting = _at(schema, places[0])
    types = {each.get("type") for each in (setting, *setting.get("anyOf", ()))}
    distribution = "Distribution" if types & {"integer", "number"} else "Choice"
    typed = {"properties": {"value": value, "values": {"items": value}}}
    found = {"anyOf": [{"allOf": [{"$ref": f"#/$defs/{distribution}"}, typed]}, NULL]}
    return found | {key: setting[key] for key in ("description",) if key in setting}


def _distributions() -> dict[str, Schema]:
    """Returns the definitions of how a parameter is drawn: one form for each set of keys."""
    properties = _tidied(ParameterSpec.model_json_schema())["properties"]
    keys = {name: _without_null(key) for name, key in properties.items()}
    keys["values"]["minItems"] = 1
    when = keys["when"] | {"minProperties": 1}
    keys["when"] = {"$ref": "#/$defs/When"}
    # Not a form for each distribution: an editor would offer those with the same keys once each.
    alike = {
        str(takes): [name for name in TAKES if TAKES[name] == takes] for takes in TAKES.values()
    }
    forms = [_form(keys, names) for names in alike.values()]
    choices = [form for form in forms if {"value", "values"} & {*form["required"]}]
    return {
        "When": when,
        "Choice": {
            "description": "Values to choose from; null removes an inherited parameter.",
            "anyOf": choices,
        },
        "Distribution": {
            "description": "A distribution of numbers; null removes an inherited parameter.",
            "anyOf": forms,
        },
    }


def _form(keys: Schema, names: list[str]) -> Schema:
    """Returns the form of these distributions, which have the same keys."""
    needed, optional = TAKES[names[0]]
    named = set() if IMPLIED & {*names} else {"distribution"}
    return {
        "type": "object",
        "properties": {"distribution": keys["distribution"] | {"enum": names}}
        | {key: keys[key] for key in keys if key in {*needed, *optional, "when"}},
        "required": [key for key in keys if key in named | needed],
        "additionalProperties": False,
    }


def _without_null(key: Schema) -> Schema:
    rest = {name: value for name, value in key.items() if name not in ("anyOf", "default")}
    kinds = [kind for kind in key.get("anyOf", ()) if kind != NULL]
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})


def text() -> str:
    """Returns the schema as its file holds it."""
    return json.dumps(experiment_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
