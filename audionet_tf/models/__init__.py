"""Networks as tables of layers, their registry, receptive-field arithmetic, and a student on disk."""
