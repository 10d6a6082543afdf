"""The meaning of access: pure values and functions; nothing but the standard library and msgspec, whose structs the
facts are.

Nothing here reads a clock, a file or a database; time and randomness arrive as arguments.
"""
