"""Which label file and which row of a table belong to which video, region and animal.

Imports `mpar.formats` and below.
"""
