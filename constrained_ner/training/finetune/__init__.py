"""Fine-tuning: a LoRA adapter for any causal language model.

run.py               everything in order: start here
folder.py            settings, record, and the folder that holds both
data.py, selection.py    what to learn from, read, checked and selected
adapter.py           the model with a new adapter, loaded and saved
memory_estimate.py   whether it fits, and which options would make it fit
trainer.py           the Trainer of transformers with our losses
callbacks.py, checkpoints.py    best adapter, status lines, resuming
"""
