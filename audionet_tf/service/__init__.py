"""The HTTP service with its web page and browser extension."""
