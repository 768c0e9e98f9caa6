"""From labelled sounds, in a folder per class or in a table, to a student and a report on sounds that were held out."""
