"""Sound event detection on scores, and everything made of events: subtitles, tables, burn-in."""
