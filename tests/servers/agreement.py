"""Where a server's answer parts from the one found here, and how near a tie the decision was here.

A server adds up in another order, and often in another precision, so it may decide a near tie otherwise.
Anything else is a fault. So the measure is the margin at the first token that differs: the logit (with the
bias) of the token that was written here, minus that of the server's. Up to there both wrote the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from itertools import accumulate
from typing import Any

from constrained_ner.annotation.annotator import Annotator
from constrained_ner.annotation.by_logits import ByLogits
from constrained_ner.backends.protocol import TextAnswer, TextRequest
from constrained_ner.backends.servers.connection import RemoteBackend
from constrained_ner.constraint.legal import END
from constrained_ner.decoding.copy_draft import copy_draft
from constrained_ner.decoding.trace import Decision, TracedPass, decisions, traced
from constrained_ner.text.view import view_of


class Remembering(RemoteBackend):
    """Keeps the answers, in the order in which they were asked for."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.answers: list[Future[TextAnswer]] = []
        super().__init__(*arguments, **options)

    def submit(self, request: TextRequest) -> Future[TextAnswer]:
        answer = super().submit(request)
        self.answers.append(answer)
        return answer


def margin_here(local: Annotator, text: str, answer: TextAnswer) -> float:
    """The margin at which the answer parts from the one found here, in logits; 0.0 if it does not.

    Asserts that the answer is legal up to there.
    """
    transport = local._transport
    assert isinstance(transport, ByLogits)
    text = view_of(text, local.settings.view).text
    legal_tokens = transport.tokens.of(text, transport.rule, transport._boundary)
    prompt_ids = transport._prompt.ids(text)
    passes: list[TracedPass] = []
    decoder = copy_draft(prompt_ids, legal_tokens, transport._prompt.room, (), transport._bias)
    ticket = transport._scheduler.submit(traced(decoder, passes), transport._prompt.prefix_ids)
    found = ticket.result()
    token_bytes = transport._vocabulary.token_bytes
    written = answer.text.encode()
    starts = dict(
        zip(accumulate((len(t.token) for t in answer.tokens), initial=0), answer.tokens, strict=False)
    )
    for decision in decisions(found, passes, len(prompt_ids), legal_tokens):
        legal = legal_tokens.legal(decision.state)
        at = len(transport._vocabulary.decode(found.token_ids[: decision.at]))
        ends = {i for i, after in legal.items() if after == END}
        if not written[at:].strip() and not ends:
            return 0.0  # white space at the end, which servers strip
        copied = {
            i for i in legal if i not in ends and token_bytes[i] and written.startswith(token_bytes[i], at)
        }
        reported = {i for i in copied if at in starts and token_bytes[i] == starts[at].token}
        # llama-server reports the pieces of a character together, so `reported` may be empty.
        same = reported or copied or (set() if written[at:].strip() else ends)
        assert same, f"{text!r}: {answer.text!r} is not legal at byte {at}"
        if decision.token_id not in same:
            ours = ends if decision.token_id in ends else {decision.token_id}  # a trace names the first end
            bias = transport._bias and transport._bias.of(decision.state, legal)
            return _margin(decision, ours, same, bias)
    return 0.0


def _margin(decision: Decision, ours: set[int], others: set[int], bias: Sequence[float] | None) -> float:
    added = bias or [0.0] * len(decision.legal)
    logits = {i: x + b for i, x, b in zip(decision.legal, decision.logits, added, strict=True)}
    return max(logits[i] for i in ours) - max(logits[i] for i in others)
