"""Which of a server's models a name means. Products name them in their own ways.

llama-server names a model by its file's path, with aliases if it was started with some, and answers whatever
name the request has. vLLM names it by its folder's path, takes several names for one model, and lists
adapters beside their base.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from openai.types import Model

from ...errors import ModelError
from .connection import listed

_A_PATH = re.compile(r"[/.~\\]|[A-Za-z]:[/\\]|.*\.gguf\Z")


def find_model(name: str, models: Sequence[Model], url: str) -> Model:
    """The model of this name, or of a path that ends in it, with or without `.gguf`.

    name: "" for the only model. Raises ModelError if it is none of them, or could be several.
    Example: "tiny" finds "/models/tiny.gguf"
    """
    ways: list[Callable[[Model], bool]] = [lambda model: not name]
    if name:
        ways = [
            lambda model: name in _names(model),
            lambda model: _last_part(name) in map(_last_part, _names(model)),
        ]
    for fits in ways:
        found = [model for model in models if fits(model)]
        if len({_loaded(model) for model in found}) == 1:
            return found[0]
        if found and name:
            raise ModelError(f"{url}: several models fit {name!r}; {listed([m.id for m in found])}")
    raise ModelError(f"{url}: the server has no model {name!r}; {listed([m.id for m in models])}")


def portable_name(name: str) -> str:
    """The name without the folders of a file on the server's machine.

    Examples: /models/tiny.gguf -> tiny.gguf; org/model -> org/model
    """
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1] if _A_PATH.match(name) else name


def _last_part(name: str) -> str:
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1].removesuffix(".gguf")


def _names(model: Model) -> list[str]:
    aliases = getattr(model, "aliases", None)
    return [model.id, *filter(None, aliases)] if isinstance(aliases, list) else [model.id]


def _loaded(model: Model) -> str:
    """What is behind a name: vLLM says in `root` what it loaded, the same for all names of a model."""
    root = getattr(model, "root", None)
    return root if isinstance(root, str) else model.id
