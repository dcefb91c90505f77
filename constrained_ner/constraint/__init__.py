"""Which answers are legal: the idea of this package, in reading order.

edges.py         where a tag may be
markup.py        what a tag looks like; sentence <-> tagged text
tag_machine.py   the contexts that the tags of a schema make
automaton.py     the legal answers for one sentence, byte by byte
tag_tokens.py    how a vocabulary spells the tags
copy_tokens.py   how it spells the sentence
legal.py         automaton x vocabulary: the legal tokens
bias.py          moving the balance between types
place_bias.py    making tags likelier where a known name stands
grammars/        the same language for other engines
"""
