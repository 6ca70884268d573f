"""A measured load for `roomcast bench`: many followers and a few publishers on plain connections, in one process.

The general client is not used: what is measured should be the server, and a follower here costs a tenth.
"""
