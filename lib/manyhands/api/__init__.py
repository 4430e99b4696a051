"""The library's functions: `run_batch` and `map_batch`, and what they return."""
