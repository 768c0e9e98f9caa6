"""Which sounds activate a unit: statistics, search over files, HTML page."""
