"""roomcast in a Django project whose own login decides who reads what: /live/messages?room=user/1.

It needs:      pip install . uvicorn 'django>=5' starlette
Prepare it:    python examples/django_login.py migrate
               DJANGO_SUPERUSER_PASSWORD=secret python examples/django_login.py createsuperuser --noinput --username anna --email anna@example.com
Run it:        uvicorn --app-dir examples --timeout-graceful-shutdown 5 django_login:app
Log in:        curl -c jar -d 'name=anna&password=secret' http://localhost:8000/login
Follow:        curl -b jar -N 'http://localhost:8000/live/messages?room=user/1'
Publish to it: curl -X POST http://localhost:8000/orders/12/paid?customer=1

A whole project in one file. In your project the upper part is in settings.py, urls.py and views.py, and
the lower part belongs into asgi.py.
"""  # noqa: E501

import sys
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from starlette.applications import Starlette
from starlette.routing import Mount

import roomcast

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="only here",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "django.db"}},
)
django.setup()

from django.contrib import auth  # noqa: E402 - Django's own rule: after its setup
from django.contrib.sessions.middleware import SessionMiddleware  # noqa: E402


async def enter(request: HttpRequest) -> HttpResponse:
    user = await auth.aauthenticate(request, username=request.POST["name"], password=request.POST["password"])
    if user is None:
        return HttpResponse(status=403)
    await auth.alogin(request, user)
    return HttpResponse(status=204)


async def paid(request: HttpRequest, number: int) -> JsonResponse:
    return JsonResponse(await live.publish(f"user/{request.GET['customer']}", text=f"order {number} is paid"))


urlpatterns = [path("login", enter), path("orders/<int:number>/paid", paid)]


# asgi.py
async def who(scope: MutableMapping[str, Any]) -> roomcast.Rights | None:
    request = ASGIRequest(dict(scope), BytesIO())
    SessionMiddleware(lambda request: HttpResponse()).process_request(request)
    user = await auth.aget_user(request)
    if not user.is_authenticated:
        return None  # a stranger
    return roomcast.Rights(str(user.pk), read=[f"user/{user.pk}", "news"], publish=[f"chat/{user.pk}"])


live = roomcast.app(log="sqlite:live.db", rights=who)
live.drain_on_signal()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with live:
        yield


app = Starlette(routes=[Mount("/live", live), Mount("/", get_asgi_application())], lifespan=lifespan)

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
