"""Training: adapters for any model, and the bundled model from scratch. Needs the extra `train`.

targets.py        annotated sentence -> training example, by the same code that decodes
partial_labels.py what the marks of another corpus say about our types
batches.py        examples as arrays
losses.py         what training minimises; a new loss belongs here
output_rows.py    a loss computed from a few rows of any model's output layer
heap.py           memory that training on a processor keeps
measure.py        what a model in training finds, through the decoder that will run it later
finetune/         LoRA adapters; start at run.py
bundled_model/    how the model that ships was made; start at recipe.py
"""
