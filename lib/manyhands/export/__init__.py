"""Exports a run's jobs for other programs, one module per format: `manyhands.export.formats` has their names."""
