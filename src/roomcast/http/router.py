"""Finds the route of a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roomcast.api import post
from roomcast.api.request import Head, Route
from roomcast.api.routes import ALIASES, Routes
from roomcast.model.errors import MethodNotAllowed, NotFound


class Router:
    """The routes that are served."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._by_parent = {
            path.rpartition("/")[0]: handlers for path, handlers in routes.items() if path.endswith("}")
        }

    def route(self, head: Head) -> Route | None:
        """The route that the path and method of `head` name; None for a preflight. Raises `NotFound` and
        `MethodNotAllowed`."""
        handlers = self._handlers(head.path)
        if not handlers:
            hint = "; a message for a room goes to /rooms/ROOM" if head.method == "POST" else ""
            raise NotFound(f"this server has {', '.join(self._routes)}{hint}")
        if head.method == "OPTIONS":
            return None
        route = handlers.get("GET" if head.method == "HEAD" else head.method)
        if route is None:
            methods = self.methods(head.path)
            raise MethodNotAllowed(f"use {', '.join(methods)}", methods)
        return route

    def methods(self, path: str) -> Sequence[str]:
        """The methods that are served at `path`."""
        own = [*self._handlers(path)]
        return [*own, *(["HEAD"] if "GET" in own else []), "OPTIONS"]

    def _handlers(self, path: str) -> Mapping[str, Route]:
        path = ALIASES.get(path, path)
        if "{" not in path and path in self._routes:
            return self._routes[path]
        if path.startswith(post.PREFIX) and path != post.PREFIX:
            return self._routes.get("/rooms/{room}", {})
        parent, _, name = path.rpartition("/")
        return self._by_parent.get(parent, {}) if name else {}
