"""Plain data to typed objects; a mistake is named with its place, and an unknown key with the nearest valid one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from onegen.errors import ConfigError, nearest

T = TypeVar("T")


class Config(BaseModel):
    """Base of everything a recipe holds: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse(kind: type[T], data: Any, where: str) -> T:
    """Validate data as a pydantic model or dataclass; raises ConfigError with one line per mistake."""
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        lines = [explain(kind, problem) for problem in error.errors()]
        raise ConfigError("\n".join([f"{where} must be mended:", *(f"  {line}" for line in lines)])) from error


class _Loader(yaml.SafeLoader):
    """YAML whose mappings have each key once: of two equal keys YAML takes the last, and the first is lost."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                raise ConfigError(
                    f"keys must be unique, got {key.value!r} in line {lines[key.value]} and again in line {line}. "
                    f"Leave one out."
                )
            lines[key.value] = line
        return node


def parse_yaml(text: str) -> Any:
    """Return plain data from YAML; raises ConfigError for a key given twice, yaml.YAMLError for what is no YAML."""
    return yaml.load(text, _Loader)


def read_mapping(path: str | Path, what: str, keys: str) -> dict[str, Any]:
    """Return the mapping in a YAML file; raises ConfigError that says `what` it is and which `keys` it has."""
    try:
        data = parse_yaml(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{what} must be a file, got {path}, which does not exist. The examples are in pipelines/."
        ) from None
    except ConfigError as error:
        raise ConfigError(f"{what} {path}: {error}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{what} {path} must be readable YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{what} {path} must be a YAML mapping with {keys}, got {type(data).__name__}.")
    return data


_RULES: Mapping[str, str] = {
    "missing": "given",
    "string_type": "text",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "literal_error": "{expected}",
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "above {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "below {lt:g}",
    "too_short": "at least {min_length} long",
    "string_pattern_mismatch": "text of the form {pattern}",
}
"""What a value must be, by the type of pydantic's error: its own words are for programmers."""
_OF_FORM = ("missing", "too_short", "string_pattern_mismatch")
"""Errors for which an example helps, beside those whose type ends in `_type`."""
_SHOWN = 200


def explain(kind: Any, problem: Any) -> str:
    """Return one line for one pydantic error, with an example, or the nearest valid key for an unknown one."""
    path, error = problem["loc"], problem["type"]
    place = ".".join(str(step) for step in path) or "recipe"
    if error == "extra_forbidden":
        return f"{place}: unknown key; {nearest(str(path[-1]), _keys_at(kind, path[:-1]))}"
    context = problem.get("ctx", {})
    if error == "value_error":
        # Raised by a model of ours, whose message says it all.
        return f"{place}: {context['error']}"
    rule = f"must be {_RULES[error].format(**context)}" if error in _RULES else str(problem["msg"])
    example = _example_at(kind, path) if error in _OF_FORM or error.endswith("_type") else None
    such = f", such as {_flow(example)}" if example is not None else ""
    got = "" if error == "missing" else f", got {_shown(problem['input'])}"
    return f"{place}: {rule}{such}{got}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _flow(example: Any) -> str:
    """Return a value as YAML writes it on a line."""
    text: str = yaml.safe_dump(example, default_flow_style=True, width=1000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _example_at(kind: Any, path: tuple[Any, ...]) -> Any:
    """Return the first example of the field at a path, or of its entries; None where it has none."""
    if not path:
        return None
    *way, last = path
    if isinstance(last, int):
        entries = _example_at(kind, tuple(way))
        return entries[0] if isinstance(entries, list) and entries else None
    field = getattr(_model_at(kind, tuple(way)), "model_fields", {}).get(last)
    return field.examples[0] if field is not None and field.examples else None


def _keys_at(kind: Any, path: tuple[Any, ...]) -> list[str]:
    """Return the field names of the model found at a path inside another."""
    return list(getattr(_model_at(kind, path), "model_fields", ()))


def _model_at(kind: Any, path: tuple[Any, ...]) -> Any:
    """Return the model found at a path inside another; whatever else stands there."""
    for step in path:
        if isinstance(step, int):
            # The place in a list, whose entries are what was found.
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[step].annotation if step in kind.model_fields else None
        arguments = [a for a in getattr(kind, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
        kind = arguments[0] if arguments else kind
    return kind
