"""The board's image in an emulated machine: see `__main__`."""
