"""Files, folders, processes and threads: what any program needs, and nothing about mice.

Imports only `mpar.errors`.
"""
