"""From prompt and legal tokens to an answer. A decoder is a generator; a scheduler runs many of them.

answer.py         what a decoder asks for, and the answer that it returns
confidence.py     how sure the model is of a choice and of a mention
legal_mass.py     how hard the constraint had to push
stepwise.py       one token per forward pass: the reference
copy_draft.py     the rest of the sentence as a draft, verified in one pass: the default
draft.py          what a draft proposes, and how long it is
list_draft.py     the same for lists of names; drafters.py chooses
unconstrained.py  free generation, for the ablation
scheduler.py      many decoders over one back end
engines/          grammar engines of others, to compare with
"""
