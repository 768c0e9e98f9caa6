"""Shared by all packages and independent of sound: errors, text, files, digests, the frame of commands."""
