"""The engine: accepts what comes in, advances operations step by step, delivers what is to be told.

It owns claiming, leases, retries, the timeline and the order within a service; what each kind of operation
does is in `operations/`.
"""
