"""The one loop that decides when jobs begin, when they are ended, which are retried, and when the run stops."""
