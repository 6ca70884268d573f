"""Tokens (JWT, RFC 7519): their signature, and the rights that they grant.

Before the signature is verified, only `iss`, `alg` and `kid` are used, which choose the keys. A header with `crit`
or `b64` is refused. All other claims are read later, so that no answer depends on a claim that anybody may have
written. No URL in a token is ever fetched.
"""
