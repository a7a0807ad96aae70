"""From events and rows of label files to one label for each frame of a recording.

Imports `mpar.matching` and below.
"""
