"""The zygote: a process that has imported what a script imports, and forks a child for each job. It runs without the rest of us."""
