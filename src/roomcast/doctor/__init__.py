"""`roomcast doctor`: what stands between this client and a server, found out by trying it.

Imports nothing of the server: it sees what any client sees, and asks with `roomcast.client`'s parts.
"""
