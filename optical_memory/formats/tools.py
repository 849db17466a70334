"""Tools of a request: functions in any provider's shape, written as the target's; all else passes as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optical_memory.errors import InputError
from optical_memory.formats.base import Format, Message
from optical_memory.formats.checked import copied


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A tool that a model may call. ``parameters`` is the JSON schema of its arguments."""

    name: str
    description: str | None
    parameters: Mapping[str, Any]


def written(tools: Iterable[Any], target: Format) -> list[Message]:
    """Return ``tools`` as ``target`` takes them, in order.

    A function in another provider's shape, or as ``{"name", "description", "parameters"}``, is written anew; one in
    the target's own shape, and a tool of a kind that this library does not know, passes as it is. An object with
    ``schema_for(format)``, such as the recall tool, gives its own.

    Errors: InputError for what is neither.
    """
    if isinstance(tools, (str, Mapping)) or not isinstance(tools, Iterable):
        raise InputError(f"tools must be a list, not {type(tools).__name__}")
    out: list[Message] = []
    for place, tool in enumerate(tools):
        if hasattr(tool, "schema_for"):
            out.append(tool.schema_for(target.name))
            continue
        tool = copied(tool, (f"tools[{place}]",))
        if not isinstance(tool, dict):
            raise InputError(f"tools[{place}] must be an object, not {type(tool).__name__}")
        functions = [] if target.is_own_tool(tool) else list(_functions(tool))
        out += [target.tool(each.name, each.description, each.parameters) for each in functions] or [tool]
    return target.joined_tools(out)


def _functions(tool: Message) -> Iterator[Function]:
    """Yield the functions that a tool declares; none where its shape is not known."""
    declared = tool.get("functionDeclarations", tool.get("function_declarations"))
    if isinstance(declared, list):
        for one in declared:
            yield from _function(one)
    elif tool.get("type") == "function" and isinstance(tool.get("function"), dict):
        yield from _function(tool["function"])
    elif tool.get("type", "function") == "function" or "input_schema" in tool:
        yield from _function(tool)


_ANY: Mapping[str, Any] = {"type": "object", "properties": {}}
_SCHEMAS = ("parameters", "input_schema", "parametersJsonSchema", "parameters_json_schema")


def _function(fields: Any) -> Iterator[Function]:
    if not isinstance(fields, dict) or not isinstance(fields.get("name"), str):
        return
    schema = next((fields[key] for key in _SCHEMAS if isinstance(fields.get(key), dict)), _ANY)
    description = fields.get("description")
    text = description if isinstance(description, str) else None
    yield Function(name=fields["name"], description=text, parameters=_lower_case(schema))


def _lower_case(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with the names of types as JSON Schema spells them; Gemini's own schemas say "OBJECT"."""
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, str):
            value = value.lower()
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            value = _lower_case(value)
        elif key == "properties" and isinstance(value, dict):
            value = {name: _lower_case(one) if isinstance(one, dict) else one for name, one in value.items()}
        out[key] = value
    return out
