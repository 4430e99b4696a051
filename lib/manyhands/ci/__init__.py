"""A run in the log of a CI system: groups, annotations, a summary. One class for each system; `dialect_of` picks."""
