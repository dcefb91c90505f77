"""Running text.

windows.py  cutting a text that is too long for a context
"""
