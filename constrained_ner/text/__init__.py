"""Running text.

corpus.py     an annotated input as sentences
sentences.py  cutting running text into sentences
view.py       what the model is shown of a text, and the way back
plain.py      which characters are shown in another way
case.py       which case is shown
windows.py    cutting a text that is too long for a context
"""
