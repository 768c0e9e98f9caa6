"""Frozen image classifiers and precomputed predictions as targets, and the pass that stores them."""
