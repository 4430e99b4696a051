"""Queues: attempts wait in a broker, consumers on any machine do them. The coordinator's journal decides; the broker may lose everything.

    coordinator.py --attempts, control--> broker --> consumer.py --> a local backend for each run (hosted_run.py)
                   <-------------reports-- broker <--

What is said is in `messages`, who carries it in `carrier`; Redis Streams are the modules that begin with ``redis_``.
"""
