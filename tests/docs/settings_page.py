"""docs/settings.md, made from the JSON Schema of an experiment: `make schema` writes both."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inat_ray.config.parameter_spec import TAKES, ParameterSpec
from inat_ray.config.schema import Schema, experiment_schema, text
from inat_ray.config.space import NOT_SEARCHED, SEARCHABLE, is_within

ROOT = Path(__file__).parents[2]

PAGE = ROOT / "docs" / "settings.md"

SCHEMA = ROOT / "experiments" / "experiment.schema.json"

INTRODUCTION = """\
<!-- Made from the schema of an experiment by `make schema`; its texts are in inat_ray/config. -->

# Settings

Every key that an experiment can have. All are optional, and a misspelt key is an error. On the
command line, `--set KEY=VALUE` changes one, for example `--set recipe.lr=0.01`: its key is the
section's name, a dot, and the key below. Keys with *yes* under Searched may be named in
`search.parameters`, where each has a [distribution](#distributions).

An editor with YAML support completes and checks a file whose first line names the schema:

```yaml
# yaml-language-server: $schema=./experiment.schema.json
```

The path is relative to the file. `inat-ray experiments --copy NAME` puts the schema beside its
copy, and `python -m inat_ray.config.schema` prints it.
"""

DISTRIBUTIONS = """\
## Distributions

A parameter below `search.parameters` is the dotted name of a setting and how its values are drawn:

```yaml
search:
  parameters:
    recipe.optimizer: {values: [adamw, sgd]}
    recipe.lr: {distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-2}
    recipe.momentum: {min: 0.8, max: 0.99, when: {recipe.optimizer: sgd}}
```

`null` removes a parameter that the file inherits by `extends`.
"""

ANCHORS = {
    "CnnConfig": "model-kind-cnn",
    "PretrainedConfig": "model-kind-pretrained",
    "ResnetConfig": "model-kind-resnet",
    "ModuleConfig": "model-kind-module",
}


PLAIN = {
    "null": "`null`",
    "boolean": "true or false",
    "string": "text",
    "object": "mapping of names to values",
}


def settings_page() -> str:
    """Returns the page: a table for each section of an experiment."""
    schema = experiment_schema()
    top = {"experiment": {**schema, "description": "What stands at the top of the file."}}
    parts = [INTRODUCTION]
    for name, section in {**top, **dict(_sections(schema, schema))}.items():
        heading = f"{'##' if '.' not in name else '###'} {name}"
        parts.append(f"{heading}\n\n{section['description']}\n\n{_table(schema, name, section)}")
    return "\n".join([*parts, DISTRIBUTIONS, _distributions(schema)])


def _sections(schema: Schema, section: Schema, prefix: str = "") -> Iterator[tuple[str, Schema]]:
    """(dotted name, schema) of each section below, in the order of the file."""
    for key, setting in section["properties"].items():
        places = [each["$ref"] for each in (setting, *setting.get("anyOf", ())) if "$ref" in each]
        for place in places:
            below = schema["$defs"][place.rpartition("/")[2]]
            kind = below["properties"].get("kind", {}).get("const")
            yield f"{prefix}{key}" + (f" (kind: {kind})" if kind else ""), below
            yield from _sections(schema, below, f"{prefix}{key}.")


def _table(schema: Schema, name: str, section: Schema) -> str:
    rows = ["| Key | Type | Default | Searched | Meaning |", "|---|---|---|---|---|"]
    for key, setting in section["properties"].items():
        dotted = key if name == "experiment" else f"{name.partition(' ')[0]}.{key}"
        cells = (
            f"`{key}`",
            _type(setting, dotted),
            _value(setting["default"]) if "default" in setting else "",
            "yes" if is_within(dotted, SEARCHABLE) and dotted not in NOT_SEARCHED else "",
            setting.get("description") or _description(schema, setting),
        )
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _description(schema: Schema, setting: Schema) -> str:
    if "anyOf" in setting:
        return "One of the two families of models."
    described: str = schema["$defs"][setting["$ref"].rpartition("/")[2]]["description"]
    return described.partition("\n")[0]


def _type(setting: Schema, dotted: str) -> str:
    """The type and the bounds of a value, in words."""
    if "$ref" in setting:
        name = setting["$ref"].rpartition("/")[2]
        return f"[section](#{ANCHORS.get(name, dotted.replace('.', ''))})"
    if "anyOf" in setting:
        return ", or ".join(dict.fromkeys(_type(each, dotted) for each in setting["anyOf"]))
    if values := setting.get("enum", [setting["const"]] if "const" in setting else []):
        return ", ".join(f"`{value}`" for value in values)
    kind: str = setting["type"]
    if kind == "array":
        return f"list of {_count(setting)}{_type(setting['items'], dotted)}"
    return PLAIN.get(kind) or f"{kind}{_bounds(setting)}"


def _count(setting: Schema) -> str:
    return f"{setting['minItems']}: " if "minItems" in setting else ""


def _bounds(setting: Schema) -> str:
    most = setting.get("maximum")
    if "exclusiveMaximum" in setting:
        limit = setting["exclusiveMaximum"]
        whole = setting["type"] == "integer"
        most = limit - 1 if whole else None
        if not whole:
            low = "from" if "minimum" in setting else "above"
            return f" {low} {_number(_least(setting))}, below {_number(limit)}"
    least = _least(setting)
    if "exclusiveMinimum" in setting:
        return f" above {_number(least)}" + (f", at most {_number(most)}" if most else "")
    if least is None:
        return ""
    return (
        f" at least {_number(least)}" if most is None else f" {_number(least)} to {_number(most)}"
    )


def _least(setting: Schema) -> Any:
    return setting.get("minimum", setting.get("exclusiveMinimum"))


def _number(value: float) -> str:
    return f"2^{value.bit_length()} - 1" if value in (2**31 - 1, 2**63 - 1) else f"{value:,}"


def _value(value: Any) -> str:
    if isinstance(value, float):
        value = round(value, 4)
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _distributions(schema: Schema) -> str:
    known = list(ParameterSpec.model_fields)
    rows = ["| Distribution | Needs | May have |", "|---|---|---|"]
    for name, (needed, optional) in TAKES.items():
        lists = (sorted(keys, key=known.index) for keys in (needed, {*optional, "when"}))
        cells = (", ".join(f"`{key}`" for key in keys) for keys in lists)
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    rows += ["", "| Key | Type | Meaning |", "|---|---|---|"]
    found: Schema = {}
    for form in schema["$defs"]["Distribution"]["anyOf"]:
        found |= form["properties"]
    found["when"] = schema["$defs"]["When"]
    for key in known:
        kind = {"distribution": "a name above", "value": "any value", "when": "mapping"}.get(key)
        meaning = found[key]["description"]
        rows.append(f"| `{key}` | {kind or _plain_type(found[key])} | {meaning} |")
    return "\n".join(rows) + "\n"


def _plain_type(setting: Schema) -> str:
    if setting.get("type") == "array":
        return "list"
    positive = any("exclusiveMinimum" in each for each in (setting, *setting.get("anyOf", ())))
    return "number above 0" if positive else "number"


def main() -> None:
    SCHEMA.write_text(text(), encoding="utf-8")
    PAGE.write_text(settings_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
