"""Mutation testing: whether tests notice that the code they cover is broken."""
