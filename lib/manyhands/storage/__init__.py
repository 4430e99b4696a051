"""What is on disk: the folder of a run, its journal, its lock, and the output of its jobs."""
