"""Captions over HTTP: an upload or a download, decoded in a process of its own, captioned, kept a while."""
