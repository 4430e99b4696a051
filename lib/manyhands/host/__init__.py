"""The machine: what it is, how much of it is in use, whether it is healthy, and whether it can do what manyhands needs."""
