"""A run's jobs for other programs, one format a module: `manyhands.export.table` has their names."""
