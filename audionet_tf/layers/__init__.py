"""Keras layers that know no network."""
