"""From prompt and legal tokens to an answer: decoders are generators, a scheduler runs many of them.

base.py           what a decoder asks for, and the answer that it returns
stepwise.py       one token a forward pass: the reference
copy_draft.py     the rest of the sentence as a draft, verified in one pass: the default
unconstrained.py  free generation, for the ablation
scheduler.py      many decoders over one back end
"""
