"""The training loop and the two things it trains."""
