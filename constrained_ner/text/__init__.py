"""Running text.

sentences.py  cutting running text into sentences
windows.py    cutting a text that is too long for a context
"""
