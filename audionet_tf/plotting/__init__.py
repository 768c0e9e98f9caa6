"""Functions from arrays to matplotlib Figures."""
