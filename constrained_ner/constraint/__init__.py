"""Which answers are legal: the idea of this package, in reading order.

edges.py               where a mention may start and end
sentence_automaton.py  what the automata of all forms of the answer share

The sentence again, with tags:

markup.py              what a tag looks like; sentence <-> tagged text
tag_machine.py         the contexts that the tags of a schema make
automaton.py           the legal answers for one sentence, byte by byte
tag_tokens.py          how a vocabulary spells the tags
copy_tokens.py         how it spells the sentence
legal.py               automaton x vocabulary: the legal tokens
bias.py                moving the balance between types
place_bias.py          making tags likelier where a known name stands

A list of its names, with their types:

name_list.py           what a list looks like; mentions <-> list
list_machine.py        the contexts of a list
list_automaton.py      the legal lists for one sentence, byte by byte
list_tokens.py         automaton x vocabulary: the legal tokens
list_bias.py           moving the balance between types
list_place_bias.py     making entries likelier where a known name stands

answer_form.py         the forms behind one seam
grammars/              the same languages for other engines
"""
