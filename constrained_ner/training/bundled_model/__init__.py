"""How the bundled model was made: a small Llama trained from scratch for this one task.

recipe.py            everything in order: start here
tokenizer.py, model.py    byte-level BPE with tags as control tokens; the network
copying_weights.py, first_rows.py    first weights that copy; first embeddings read by a large model
corpus.py, names.py, swapping.py, teaching.py    the training data, and ways to make more of it
marks.py, marking.py, soft_targets.py    a teacher's probabilities by place: kept, made, learnt from
stages.py, copying.py, sources.py    the stages; random strings to copy; the examples of each stage
feed.py, trainer.py, muon.py, dropout.py    batches made ahead; the training loop
bias_into_weights.py    finding more of one type, for good
save.py, restore.py, card.py    the GGUF, the GGUF read back, the model card
"""
