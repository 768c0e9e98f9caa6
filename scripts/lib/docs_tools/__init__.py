"""The documents: their picture, and the reference of the commands."""
