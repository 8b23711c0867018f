"""Errors as `application/problem+json` (RFC 9457)."""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from wimsmith.errors import InvalidInput, WimsmithError

log = logging.getLogger("wimsmith.api")

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What went wrong; `code` is stable for ever and documented in docs/reference/errors.md."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str | None = None
    job: str | None = None


def install(app: FastAPI) -> None:
    """Let every error leave the application as a problem."""
    app.add_exception_handler(WimsmithError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def problem(code: str, status: int, detail: str, hint: str | None = None) -> JSONResponse:
    """The answer for one error."""
    body = Problem(
        type=f"urn:wimsmith:error:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        hint=hint,
    )
    return JSONResponse(body.model_dump(), status_code=status, media_type=MEDIA_TYPE)


def _ours(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, WimsmithError)
    return problem(error.code, error.status, str(error), error.hint)


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = "; ".join(
        f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()
    )
    return problem(InvalidInput.code, InvalidInput.status, str(InvalidInput(found)))


def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    codes = {404: "not-found", 405: "method-not-allowed"}
    answer = problem(codes.get(error.status_code, "http"), error.status_code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem("internal", 500, f"{type(error).__name__}: {error}")
