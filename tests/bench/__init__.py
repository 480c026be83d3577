"""The benchmark: see run."""
