"""Tables of other tools become rows that every command reads.

Files and exports are read as frames (tables, tools), and a mapping of columns turns a frame into rows (mapping). Read
first: mapping.py.
"""
