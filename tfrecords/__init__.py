"""Builds TFRecords of paired windows of sound and pictures from videos."""
