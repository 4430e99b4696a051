"""Worker processes that call functions: how they are started, given jobs, signalled, and ended."""
