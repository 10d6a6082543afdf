"""Python runs this first in every process of a server under test: its statements are looked at as those of the tests.

Where one crosses organizations its request is a 500 and the log says so, which fails the test (`serving.Server.close`).
"""

from tests.statements import inspect_all

inspect_all()
