"""Worker processes that call functions: how they are made, told, signalled, and ended."""
