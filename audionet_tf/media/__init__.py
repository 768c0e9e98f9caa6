"""Sound and pictures in and out of media files, and pure NumPy signal code."""
