"""The load of `roomcast bench`: many followers and a few publishers on plain connections, in one process.

It does not use the general client: a follower here costs a tenth of that, so the server is measured, not the
client.
"""
