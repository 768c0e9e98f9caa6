"""What every package may use and that knows nothing of sound: errors, text, files, digests, the command-line frame."""
