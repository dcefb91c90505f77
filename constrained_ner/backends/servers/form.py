"""The form in which a server takes a request: assumed at first, then learnt from what it refuses.

Servers that speak OpenAI's protocol differ in what they accept: some chat templates have no system role,
newer models of OpenAI want `max_completion_tokens`, many servers refuse fields that they do not know, strict
ones want an object at the root of a JSON schema. A refusal names what it is about. So the request is put in
another form and sent again, and the rest of the run uses that form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

_SYSTEM = re.compile(
    r"system (role|message|prompt)|role.{0,40}\bsystem\b|roles? must alternate", re.IGNORECASE
)
_OTHER_LIMIT = re.compile(r"max_completion_tokens")
_WANTS_OBJECT = re.compile(
    r"schema.*(\btype.{0,6}object|root.{0,30}object|must be an? .{0,6}object)|prefixItems|minItems|maxItems",
    re.IGNORECASE | re.DOTALL,
)
_REFUSED = re.compile(
    r"not (supported|permitted|allowed|recogni[sz]ed|accepted)|unsupported|unrecogni[sz]ed|unknown|"
    r"unexpected|does not support|invalid|extra (inputs|fields)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Form:
    """How a request is put.

    system: whether there is a system message; otherwise its text opens the first user message.
    limit: the field with the longest answer. without: optional fields that are left out.
    object_root: whether the JSON schema's array is put as an object with numbered properties.
    """

    system: bool = True
    limit: str = "max_tokens"
    without: frozenset[str] = frozenset()
    object_root: bool = False

    def after(self, refusal: str, optional: Sequence[str]) -> Form | None:
        """The form to try after a refusal; None if the refusal is about something else.

        optional: the fields of the request that it can do without.
        """
        if self.limit == "max_tokens" and _OTHER_LIMIT.search(refusal):
            return replace(self, limit="max_completion_tokens")
        if self.system and _SYSTEM.search(refusal):
            return replace(self, system=False)
        if not self.object_root and _WANTS_OBJECT.search(refusal):
            return replace(self, object_root=True)
        named = [name for name in optional if name not in self.without and _names(refusal, name)]
        if named and _REFUSED.search(refusal):
            return replace(self, without=self.without.union(named))
        return None

    def messages(self, messages: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
        """The messages, with the system's in the first user turn if there is no system role."""
        pairs = list(messages)
        if not self.system and len(pairs) > 1 and pairs[0][0] == "system":
            pairs[:2] = [(pairs[1][0], f"{pairs[0][1]}\n\n{pairs[1][1]}")]
        return [{"role": role, "content": content} for role, content in pairs]

    def fields(self, optional: Mapping[str, Any]) -> dict[str, Any]:
        """The optional fields that are not left out."""
        return {name: value for name, value in optional.items() if name not in self.without}

    def schema(self, grammar: str) -> str:
        """The JSON schema of an array of pieces, as an object if the server wants one."""
        if not self.object_root:
            return grammar
        pieces = json.loads(grammar)["prefixItems"]
        properties = {str(n): {"type": "string", **piece} for n, piece in enumerate(pieces)}
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        return json.dumps({**schema, "additionalProperties": False}, ensure_ascii=False)

    def answer(self, text: str) -> str:
        """The answer as the array that the schema asked for."""
        if not self.object_root:
            return text
        try:
            pieces = json.loads(text)
            return json.dumps([pieces[str(n)] for n in range(len(pieces))], ensure_ascii=False)
        except (ValueError, KeyError, TypeError):
            return text  # another answer: whoever checks it will say so


def _names(refusal: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", refusal) is not None
