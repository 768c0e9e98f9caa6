"""Builds TFRecords of paired windows of sound and pictures from videos."""

import audionet_tf  # noqa: F401  (from here on, Ctrl-C ends a command in one line)
