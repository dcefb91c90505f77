"""From settings that name a file of examples to settings that hold the examples, apart from what is annotated."""
