"""Plain data to typed objects; a mistake is named with its place, and an unknown key with the nearest valid one."""

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
        lines = [_explain(kind, problem) for problem in error.errors()]
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


def _explain(kind: Any, problem: Any) -> str:
    """Return one line for one pydantic error, with the nearest valid key for an unknown one."""
    path = ".".join(str(step) for step in problem["loc"]) or "recipe"
    if problem["type"] != "extra_forbidden":
        return f"{path}: {problem['msg']}, got {problem['input']!r}"
    return f"{path}: unknown key; {nearest(str(problem['loc'][-1]), _keys_at(kind, problem['loc'][:-1]))}"


def _keys_at(kind: Any, path: tuple[Any, ...]) -> list[str]:
    """Return the field names of the model found at a path inside another."""
    for step in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel) and step in kind.model_fields:
            kind = kind.model_fields[step].annotation
        arguments = [a for a in getattr(kind, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
        kind = arguments[0] if arguments else kind
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []
