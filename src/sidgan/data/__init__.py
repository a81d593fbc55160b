"""Footage in, training batches out."""
