"""Training: the bundled model from scratch, and adapters for any other. Needs the extra `train`.

In reading order: tokenizer, targets (annotated sentence -> example), batches, losses; copying, texts,
lexicon, swapping, corpus, teaching and sources (what is learnt from); model, muon, dropout, loop; greedy
(watching it learn), export, restore (an export read back), card, recipe (all of it in order).

Fine-tuning: chat_targets, output_rows (logits of a few tokens), selection, memory, lora, tuner, tuning_data,
tuning_folder, finetune (all of it in order).
"""
