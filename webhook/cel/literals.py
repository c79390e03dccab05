"""Literals of lists, maps and messages as Python expressions, from the expressions of their parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from webhook.cel import runtime
from webhook.cel.facts import Facts, may_not_hash
from webhook.cel.library.messages import maker, optional_field
from webhook.cel.tree import Entry, ListLiteral, MapLiteral, Message, bare
from webhook.cel.values import HeldKey

if TYPE_CHECKING:
    from webhook.cel.codegen import Body


def make_list(body: Body, node: ListLiteral, inner: list[str]) -> str:
    helper = body.module.helper(runtime.optional_element) if node.optional else ""
    parts = [f"*{helper}({text})" if at in node.optional else text for at, text in enumerate(inner)]
    return f"[{', '.join(parts)}]"


def make_map(body: Body, node: MapLiteral, inner: list[str]) -> str:
    parts = []
    for at, entry in enumerate(node.entries):
        held = held_key(entry, body.facts)
        key, value = body.module.constant(held) if held is not None else inner[2 * at], inner[2 * at + 1]
        if entry.optional:
            parts.append(f"*{body.module.helper(runtime.optional_entry)}({key}, {value})")
        elif may_not_hash(entry.key, body.checked):
            parts.append(f"{body.module.helper(runtime.entry)}({key}, {value})")
        else:
            parts.append(f"({key}, {value})")
    make = runtime.new_optional_map if any(entry.optional for entry in node.entries) else runtime.new_map
    return f"{body.module.helper(make)}([{', '.join(parts)}])"


def held_key(entry: Entry, facts: Mapping[int, Facts]) -> HeldKey | None:
    """A key that is a list or map of constants: the server makes it once, so it is the same one each time. The error of
    an optional entry shows what it holds."""
    constant = facts[entry.key.id].constant
    return HeldKey(constant) if isinstance(constant, list | dict) and not entry.optional else None


def make_message(body: Body, node: Message, inner: list[str]) -> str:
    helper = body.module.helper(optional_field) if any(field.optional for field in node.fields) else ""
    parts = [
        f"{helper}({body.constant(field.name)}, {text})" if field.optional else text
        for field, text in zip(node.fields, inner, strict=True)
    ]
    return f"{body.module.constant(made_by(node))}({', '.join(parts)})"


def made_by(node: Message) -> Callable[..., Any]:
    """The function that makes the message of its fields' values."""
    return maker(bare(node.name), tuple(field.name for field in node.fields))
