"""A loaded export over one file: windows, steps, chunking, writers and readers of results."""
