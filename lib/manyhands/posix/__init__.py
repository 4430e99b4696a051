"""The operating system, one concern a module: processes as Linux knows them, signals, control groups, cores, where programs are."""
