"""Ways of doing attempts: one module for each, and none imports another. `manyhands.backends.registry` has their names.

Nothing is imported here, because every launcher and worker imports this package while a batch waits for it.
"""
