"""Tables and lists that users and other programs write: classes, labels of clips, words; CSV of every dialect."""
