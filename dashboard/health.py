"""GET /health: whether the page is well, for load balancers and service managers, without a login.

It is answered before anything else sees the request, from what lies in memory: no model is asked, and nobody who
computes is waited for. It tells numbers only; nobody's names, files or keys.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from core.runtime.software import satchel_version
from dashboard.machine import resident
from dashboard.page import Page

PATH = "/health"


def state(page: Page) -> dict[str, Any]:
    """How a page is: "ok", or "ending" once it was told to end."""
    waiting, making = page.maker.counts()
    sessions = page.sessions.every()
    training = page.trainer.live is not None and page.trainer.live.running
    return {
        "status": "ending" if page.ending else "ok",
        "version": satchel_version(),
        "model_loaded": len(page.classifiers) > 0,
        "models": len(page.classifiers),
        "visitors": len(sessions),
        "reports": {"waiting": waiting, "running": making},
        "training": training,
        "evaluations": sum(session.evaluation is not None for session in sessions),
        "memory_bytes": resident(),
    }


class Health:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, page: Page) -> None:
        self.app, self.page = app, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._asked(scope):
            await self.app(scope, receive, send)
            return
        told = state(self.page)
        code = 200 if told["status"] == "ok" else 503
        await JSONResponse(told, code, {"Cache-Control": "no-store"})(scope, receive, send)

    @staticmethod
    def _asked(scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            return False
        path, root = scope["path"].rstrip("/"), scope.get("root_path", "").rstrip("/")
        return path in (PATH, f"{root}{PATH}")
