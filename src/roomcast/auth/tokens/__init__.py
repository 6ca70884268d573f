"""Tokens (JWT, RFC 7519): their signature, and the rights that they grant.

The cheap checks come first, the signature last. Nothing in a token is acted on before its signature is verified;
above all, no URL in it is ever fetched.
"""
