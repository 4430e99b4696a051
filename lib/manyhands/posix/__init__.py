"""The operating system, one module per concern: processes of Linux, signals, control groups, cores, paths of programs."""
