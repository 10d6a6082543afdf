"""The use-cases: one function, one transaction, one revision.

A function that answers takes a `Reading`, one that changes takes a `Writing`; both know who asks and see one state
of the book. Rights are checked by the gates of `service.gates`, in the order: existence, then rights.
"""
