"""Ways of doing attempts: one module each, none of which knows another. `manyhands.backends.table` has their names.

Nothing is imported here: every launcher and worker comes through this package, and a batch waits for them.
"""
