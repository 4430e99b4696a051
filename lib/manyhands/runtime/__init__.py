"""This Python process: how it starts, what Ctrl-C does then, and what a fork or an exit must close."""
