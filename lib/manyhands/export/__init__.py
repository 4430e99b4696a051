"""A run's jobs for other programs."""
