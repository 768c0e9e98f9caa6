"""Weights of other programs into students."""
