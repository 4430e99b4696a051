"""The tour: what each way of doing things at once looks like, as small programs that tell what happens and check themselves.

    contents (the table) --> showing --a process of its own--> stage --> a scene: bare standard library, and `tell`
                                ^-- events over a socket -------------------'
                                '--> narration, timeline, trace, verdict

Scenes are in one module per topic. Each scene `name` has its `name_seen`, which computes the verdict from the events alone.
"""
