"""Layer activations of many files, and the linear probe on them."""
