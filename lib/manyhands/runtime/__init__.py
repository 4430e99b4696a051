"""This Python process, from its first line to its last: how it starts, what Ctrl-C does then, what a fork or an exit must close."""
