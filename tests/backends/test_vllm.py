"""How vLLM's answers to /tokenize are read."""

from __future__ import annotations

import pytest

from constrained_ner.backends.servers.vllm import VLLM

TOKENIZE = VLLM.tokenize


def read(text: str, strings: list[str]) -> list[bytes]:
    assert TOKENIZE is not None
    found = TOKENIZE.read({"tokens": list(range(len(strings))), "token_strs": strings}, text)
    assert [token_id for token_id, _ in found] == list(range(len(strings)))
    return [piece for _, piece in found]


@pytest.mark.parametrize(
    ("text", "strings", "pieces"),
    [
        # As vLLM 0.32 answered for SmolLM2.
        (
            "<drug> β 5\n\tx",
            ["<", "drug", ">", "ĠÎ²", "Ġ", "5", "Ċ", "ĉ", "x"],
            [b"<", b"drug", b">", " β".encode(), b" ", b"5", b"\n", b"\t", b"x"],
        ),
        # SentencePiece, with a space of its own, and a character in bytes.
        ("a β\n", ["▁a", "▁", "<0xCE>", "<0xB2>", "<0x0A>"], [b" a", b" ", b"\xce", b"\xb2", b"\n"]),
        # The same character is a letter in one alphabet, and a byte in the other.
        ("Ã", ["Ã"], ["Ã".encode()]),
        ("Ã", ["Ã", "ĥ"], [b"\xc3", b"\x83"]),
    ],
)
def test_tokens_are_read_in_the_alphabet_that_spells_the_text(
    text: str, strings: list[str], pieces: list[bytes]
) -> None:
    assert read(text, strings) == pieces


def test_tokens_that_spell_another_text_are_malformed() -> None:
    with pytest.raises(ValueError, match="do not spell"):
        read("aspirin", ["asp", "rin"])
