"""What a model is asked, and in which token ids.

wording.py        prompt files: the instructions, with placeholders for the schema
messages.py       wording, schema and examples -> messages
chat_template.py  a model's chat template, and the quirks of templates
records.py        plain records, for lists from models without a chat template
encoder.py        messages -> token ids
budget.py         as many examples as fit the context
examples/         choosing the examples
"""
