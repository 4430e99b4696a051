"""Every option, declared once: for the tasks, their help, settings and completion, and for programs. Declarations only, quick to import."""
