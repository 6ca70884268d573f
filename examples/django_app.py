"""roomcast in a Django project: streams at /live/messages?room=orders, the page at /live/?room=orders.
Everybody who reaches it can read and publish in every room; in django_login.py a login decides.

It needs:      pip install . uvicorn django starlette
Run it:        uvicorn --app-dir examples --timeout-graceful-shutdown 5 django_app:app
Publish to it: curl -X POST http://localhost:8000/orders/7/paid

A whole project in one file. In your project the upper part is in settings.py, urls.py and views.py, and
the lower part belongs into asgi.py.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from starlette.applications import Starlette
from starlette.routing import Mount

import roomcast

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="only here", ALLOWED_HOSTS=["*"])

live = roomcast.app(log="sqlite:live.db")
live.drain_on_signal()


async def paid(request: HttpRequest, number: int) -> JsonResponse:
    return JsonResponse(await live.publish("orders", text=f"order {number} is paid"))


def sent(request: HttpRequest, number: int) -> JsonResponse:
    """A view without `async`: Django runs it in a thread, and this takes the call back to the server's loop."""
    return JsonResponse(async_to_sync(live.publish)("orders", text=f"order {number} is sent"))


urlpatterns = [path("orders/<int:number>/paid", paid), path("orders/<int:number>/sent", sent)]


# asgi.py. Django has no lifespan and mounts nothing; Starlette does both.
@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with live:
        yield


app = Starlette(routes=[Mount("/live", live), Mount("/", get_asgi_application())], lifespan=lifespan)
