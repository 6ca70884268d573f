"""Tokens (JWT, RFC 7519): who signed one, and what it gives.

Everything but the signature is looked at first, since that is cheap, and nothing is done by what a token says
before its signature is verified: above all, no address is ever made of it.
"""
