"""Checks a written file with llama.cpp: it must give the tokenizer's tokens and have all tensors.

A file with the wrong tokenisation loads, runs and is quietly worse, so a file is kept only after this check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..backends.llamacpp.model import LlamaModel
from ..backends.llamacpp.vocabulary import vocabulary_of_llama
from ..errors import ModelError
from ..prompting.chat_template import ChatTemplate
from ..vocabulary import Vocabulary
from .tokenizer import ENDS_BY_NAME

TEXTS = (
    "Effect of aspirin (500 mg/day) on beta-blockers, e.g. propranolol; it's 1,234.5 times 67890.",
    "  two blanks before, two after  ",
    "tabs\tand\nlines\n\n\nand\r\nmore \n \n end\n",
    "Naïve cells – 50 µg/mL of “cefotaxime” – l'été, ÉCOLE, Größe, İstanbul, ΑΒΓ αβγ, ПРИВЕТ мир",
    "decomposed e\u0301 and A\u030a; zero\u200bwidth; no-break\u00a0space; ﬁ ligature",
    "emoji 😀👩‍👩‍👧 flags 🇨🇭; 中文字符 日本語 한국어 العربية עברית हिन्दी ไทย",
    "camelCase HTTPServer DON'T I'll we'd THEY'RE can't",
    "a<b>c</b> <drug>x</drug><drug_n>y</drug_n> </s> <s> <|im_end|> [INST] <unk> <0x0A>",
    "[3H]-ouabain 5-HT1A $100 50% #1 C:\\path\\n x=y+z* ~~~ ... --- ___ !!!",
    "\x01\x1b[0m \x7f control",
)


def check_model(
    path: Path, tokenizer: Vocabulary, chat_template: str | None, more_texts: Iterable[str]
) -> list[str]:
    """What is worth knowing: tokens that llama.cpp takes for ends of answers (see `taken_for_ends`).

    Raises ModelError unless llama.cpp tokenises as `tokenizer` does and finds all tensors of the model.
    """
    LlamaModel(path, map_only=True)
    written = vocabulary_of_llama(LlamaModel(path, vocab_only=True))
    difference = next(_differences(written, tokenizer, chat_template, more_texts), None)
    if difference is not None:
        raise ModelError(
            f"llama.cpp does not tokenise as the model's tokenizer, so the file is not kept: {difference}"
        )
    spellings = [_spelling(token_id, tokenizer) for token_id in sorted(taken_for_ends(written, tokenizer))]
    return [
        f"llama.cpp takes the token {spelling} for the end of an answer, whatever the file says: in a text "
        f"it reads and writes {spelling} in several tokens"
        for spelling in spellings
    ]


def taken_for_ends(written: Vocabulary, tokenizer: Vocabulary) -> set[int]:
    """Ids that are text to the model, and end an answer in llama.cpp because of their spelling.

    Gemma's vocabulary has a token for HTML's `</s>`. llama.cpp makes every `</s>` a control token that ends
    an answer. So it never finds it in a text (but spells it `</`, `s`, `>`), and no answer may contain it:
    what is true of the file is what `written` says.
    """
    added = written.stop_ids - tokenizer.control_ids
    return {i for i in added if _spelling(i, tokenizer) in ENDS_BY_NAME}


def _spelling(token_id: int, vocabulary: Vocabulary) -> str:
    return vocabulary.token_bytes[token_id].decode(errors="replace")


def _differences(
    written: Vocabulary, tokenizer: Vocabulary, chat_template: str | None, more_texts: Iterable[str]
) -> Iterator[str]:
    """Yield the differences. written: read through llama.cpp. tokenizer: read through transformers."""
    if len(written) != len(tokenizer):
        yield f"{len(written)} tokens instead of {len(tokenizer)}"
        return
    taken = taken_for_ends(written, tokenizer)
    spelt = [_spelling(token_id, tokenizer) for token_id in taken]
    for token_id in sorted((written.control_ids ^ tokenizer.control_ids) - taken):
        side = "text" if token_id in tokenizer.control_ids else "a control token"
        yield f"token {token_id} ({tokenizer.token_bytes[token_id]!r}) is {side} in llama.cpp"
    for token_id, pieces in enumerate(zip(written.token_bytes, tokenizer.token_bytes, strict=True)):
        if pieces[0] != pieces[1] and token_id not in tokenizer.control_ids:
            yield f"token {token_id} is {pieces[0]!r} instead of {pieces[1]!r}"
    for token_id in sorted(tokenizer.stop_ids - written.stop_ids):
        yield f"token {token_id} ({tokenizer.token_bytes[token_id]!r}) does not end an answer in llama.cpp"
    if written.bos_id != tokenizer.bos_id:
        yield f"texts begin with token {written.bos_id} instead of {tokenizer.bos_id}"
    if written.eos_id != tokenizer.eos_id and tokenizer.eos_id is not None:
        yield f"texts end with token {written.eos_id} instead of {tokenizer.eos_id}"
    for whole in (*TEXTS, *more_texts):
        text = whole
        for spelling in spelt:
            text = text.replace(spelling, "")
        one, other = written.encode(text), tokenizer.encode(text)
        if one != other:
            yield f"{text!r} is {_unlike(one, other, tokenizer)}"
    for text, inner in _template_texts(chat_template, tokenizer):
        one, other = (v.encode_template(text, inner=inner) for v in (written, tokenizer))
        if one != other:
            yield f"the chat template's {text!r} is {_unlike(one, other, tokenizer)}"


def _template_texts(chat_template: str | None, vocabulary: Vocabulary) -> list[tuple[str, bool]]:
    """List what the template writes around messages, and whether a message comes before it."""
    roles = ("system", "user", "assistant", "user")
    pieces = ChatTemplate(chat_template, vocabulary).render(roles)
    return [(piece, n > 0) for n, piece in enumerate(pieces) if isinstance(piece, str) and piece]


def _unlike(one: list[int], other: list[int], vocabulary: Vocabulary) -> str:
    """Show the first tokens that differ."""
    at = next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    first, second = ([vocabulary.token_bytes[i] for i in ids[at : at + 4]] for ids in (one, other))
    return f"{first} instead of {second} from token {at} on"
