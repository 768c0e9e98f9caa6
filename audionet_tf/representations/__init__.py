"""Layer activations over many files, and the linear probe on them."""
