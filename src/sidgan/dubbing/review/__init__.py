"""Review a dub: verify the file, measure image quality, find what to check first, write its page and its strips."""
