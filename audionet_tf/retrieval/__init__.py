"""Search in a collection of sounds: its index, queries by text, sound or picture, and the page of the results."""
