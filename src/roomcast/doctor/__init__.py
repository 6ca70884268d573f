"""`roomcast doctor`: tests the path between this client and a server.

Imports nothing of the server: it sees only what any client sees, and uses parts of `roomcast.client`.
"""
