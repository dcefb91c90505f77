"""Other ways to ask a model for names, on the same model: prompt, reader, and a grammar where there is one.

The forms of an answer that Semin, Dušek and Kasner (2026, arXiv 2601.16946) compare. Their names for them:

    free_tags     tagging    the sentence again, with tags, nothing enforced
    positions     indexing   where each name starts and ends
    json_names    matching   names with types, as JSON; with or without the number of the occurrence;
                             LogitMatch is the same constrained to substrings of the sentence

string_match.py  where the names of an answer are in the sentence
json_array.py    JSON of which nothing is sure
form.py          what a form is
forms.py         all of them
greedy.py        a model's likeliest answer in a form, with or without a grammar

Nothing else in the package uses these forms; they are here to compare with.
"""
