"""Fine-tuning: a LoRA adapter for any causal language model, or all weights of a small one.

run.py               everything in order: start here
folder.py            settings, record, and the folder that holds both
data.py, selection.py    what to learn from, read, checked and selected
adapter.py           the model with a new adapter, loaded and saved
whole_model.py       all weights instead, and tags that are tokens
also.py              sentences of another corpus besides
memory_estimate.py   whether it fits, and which options would make it fit
trainer.py           the Trainer of transformers with our losses
callbacks.py, checkpoints.py    best adapter, status lines, resuming
"""
