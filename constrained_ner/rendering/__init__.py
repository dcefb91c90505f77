"""A sentence or a document for eyes.

palette.py   the colour of a type; visible.py: what would be obeyed or not be seen, as its escape
terminal.py  a sentence in a terminal
marks.py     a text with its names as HTML; fragment.py: in a notebook; view.py: as a page to look through
pages.py     the templates of pages, and what makes a page safe
"""
