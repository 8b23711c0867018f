"""The engine: reads and changes Windows files that are not running.

It knows no database, no HTTP and no jobs, and imports nothing of ours but `wimsmith.errors` and
`wimsmith.process`, so that it can be used as a library and by the boot-environment agent.
"""
