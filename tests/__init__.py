"""Tests. The file keeps a package of this name that others install from hiding these."""
