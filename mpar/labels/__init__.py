"""What a label is: classes, bouts, scorings and recordings, and names of files and animals.

Imports `mpar.video` (its time line) and `mpar.system`.
"""
