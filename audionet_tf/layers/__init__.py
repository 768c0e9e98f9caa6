"""Keras layers that do not depend on any network."""
