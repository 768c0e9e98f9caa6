"""From videos to TFRecords of paired windows of sound and picture."""
