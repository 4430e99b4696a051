"""The machine: what it is, how much of it is in use, whether it is well, and whether it can do what manyhands needs."""
