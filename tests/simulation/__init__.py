"""The real engine, journal, recovery and inputs in a world that is drawn from a seed: time, jobs, helpers, disk and crashes.

    seed --> Scenario --> World (time, helpers, what jobs really did) + Files (what is durable)
                 Batch/Line, Engine, Journal, take_over: the real ones, stepped in one thread

Like the simulators of FoundationDB and TigerBeetle: after each step the ledger of what the jobs really did is compared with what was
promised, and a failure is a seed that repeats it exactly. ``python -m simulation --seeds N`` (with ``lib`` and ``tests`` on
PYTHONPATH), or ``manyhands dev.simulate``.
"""
