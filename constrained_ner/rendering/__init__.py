"""A sentence with its mentions, for display.

palette.py   the colour of a type
terminal.py  a sentence in a terminal
"""
