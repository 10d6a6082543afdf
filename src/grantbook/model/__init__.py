"""The meaning of access: pure values and functions, standard library only.

Nothing here reads a clock, a file or a database; time and randomness arrive as arguments.
"""
