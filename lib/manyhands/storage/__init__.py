"""What is on disk: the folder of a run, its journal, its lock, what its jobs printed."""
