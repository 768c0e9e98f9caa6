"""Files that lie elsewhere: object stores, by address, with their local copies; the Hugging Face Hub."""
