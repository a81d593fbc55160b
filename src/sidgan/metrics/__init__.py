"""Each metric as a function and as an accumulator over a whole test set."""
