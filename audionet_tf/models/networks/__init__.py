"""Networks: sound in, logits by head and an embedding out; each a table of layers and a function."""
