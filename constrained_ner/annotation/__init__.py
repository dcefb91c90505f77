"""Text in, sentences with mentions out.

settings.py     every option, declared once; option.py: what an option is
resolve.py      what the options come to with a model and an adapter
given.py        what callers give: texts, examples, names
annotator.py    the front door; about.py: what it is, without its model
documents.py    whole documents through it; kept.py: loaded once, for the package's functions
pipeline.py     windows, turns and failures, written once for both transports
by_logits.py    transport 1: decoded here, by a model whose logits we see
by_text.py      transport 2: asked from a server, whose answers are checked
free_answer.py  an answer that may be anything -> mentions; alignment.py, inked.py: free text -> offsets
result.py       what comes back for a sentence
consistency.py  names agree within a document
lexicon.py      names to expect in drafts
lexicon_prior.py  a list of names as prior: likelier where the text has them
shipped.py      adapters that ship, by their names
"""
