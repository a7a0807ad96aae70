"""Files, folders, processes and threads: general tools, nothing specific to mice.

Imports only `mpar.errors`.
"""
