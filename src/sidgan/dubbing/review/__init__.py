"""What came of a dub: how it looks, what to check first, its page and its strips, and whether the file is as meant."""
