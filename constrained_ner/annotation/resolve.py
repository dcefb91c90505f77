"""What settings come to with this model and this adapter."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ..adapters import AdapterCard, BaseModelIdentity
from ..backends.protocol import LogitsBackend, TextBackend
from ..decoding.confidence import least_confidence
from ..errors import UserError
from .lexicon_prior import DEFAULT_WEIGHTS
from .settings import Settings


def reports_confidence(backend: LogitsBackend | TextBackend, settings: Settings) -> bool:
    """Whether mentions come with confidence; from a server only where it reports enough."""
    return settings.constrained and (backend.shows_logits or backend.reports_tokens)


def settled(settings: Settings, backend: LogitsBackend | TextBackend, knows_confidence: bool) -> Settings:
    """The settings with what depends on the model filled in. Raises UserError for what it cannot do."""
    if settings.min_confidence and not knows_confidence:
        raise UserError(
            "--min-confidence needs a constrained decoder, and a local model or a server that reports the "
            "probabilities of its tokens (llama-server, vLLM)"
        )
    if settings.bias and not settings.constrained:
        raise UserError("--bias needs a constrained decoder")
    least = least_confidence(backend.temperature) if knows_confidence else 0.0
    return dataclasses.replace(
        settings,
        min_confidence=least if settings.min_confidence is None else settings.min_confidence,
        consistency=knows_confidence if settings.consistency is None else settings.consistency,
        **_lexicon(settings, knows_confidence),
    )


def _lexicon(settings: Settings, sees_logits: bool) -> dict[str, Any]:
    """The lexicon and its weights; none where no logits are seen that they could be added to."""
    if settings.lexicon in (None, "none") or not sees_logits:
        return {"lexicon": "none", "lexicon_weight": {}}
    return {"lexicon_weight": {**DEFAULT_WEIGHTS, **settings.lexicon_weight}}


def as_trained(
    settings: Settings,
    card: AdapterCard,
    backend: LogitsBackend | TextBackend,
    name: str,
    notify: Callable[[str], None],
) -> Settings:
    """The settings with what the adapter was trained for (schema, prompt, form), unless other was asked for.

    Raises ModelError if the adapter does not fit what was asked for, unless `force` is set.
    """
    adapter = settings.adapter or settings.lora or name
    schema = settings.read_schema() or card.entity_schema
    prompt = settings.read_prompt() or card.prompt
    answer = settings.answer or card.answer
    occurrences = card.occurrences if settings.occurrences is None else settings.occurrences
    if not settings.constrained and not card.writes_freely:
        notify(
            f"{adapter}: trained with --loss legal, which leaves copying to the constraint, so it cannot "
            "generate freely; --loss completion teaches both"
        )
    if not settings.force and backend.shows_logits:
        model: Mapping[str, str] | None = backend.description
        if not (settings.adapter or settings.lora) and backend.adapter_card is None:
            model = None  # a whole model with a card of its own: there is no base to compare it with
        elif backend.adapter_card is not None:  # a GGUF file knows what it was made of, or does not say
            base = backend.base_model and BaseModelIdentity.parse(backend.base_model, name)
            if card.base_model.sha256 == backend.identity.get("sha256"):  # trained on this very file
                base = card.base_model
            model = base.model_dump(exclude_none=True) if base else None
        card.require(
            adapter,
            schema=schema,
            prompt=prompt,
            chat_template=backend.chat_template,
            model=model,
            answer=answer,
            occurrences=occurrences,
        )
    return dataclasses.replace(settings, schema=schema, prompt=prompt, answer=answer, occurrences=occurrences)
