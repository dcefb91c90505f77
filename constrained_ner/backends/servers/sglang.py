"""SGLang. The field is set here: Outlines warns of every grammar for it."""

from __future__ import annotations

from .product import NO_THINKING, Product, extra_field

SGLANG = Product(
    title="SGLang",
    owner="sglang",
    dialect="gbnf",
    grammar_field="ebnf",
    grammar_advice="start it with --grammar-backend xgrammar or llguidance",
    constrain=extra_field("ebnf"),
    # The default is the model's own, often more than 1.
    greedy={"repetition_penalty": 1.0} | NO_THINKING,
)
