"""Dask clusters: an attempt is a task of Dask distributed, and each of its workers hosts a local backend that does the attempts.

    coordinator.py <--> carrier.py --tasks, client.run--> Dask --> worker_side.py --> site.py: a local backend in a thread
                        <--results of tasks, events------- Dask <--

Dask decides which worker gets a task, and moves the data. Time-outs, captured output and the end of whole process trees are those of the
local backend; which attempt is tried again is decided by the engine alone.
"""
