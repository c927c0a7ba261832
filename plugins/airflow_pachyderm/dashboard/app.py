"""The page's application: every route behind Airflow's login, errors as problems, strict headers."""

import logging

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from airflow_pachyderm.dashboard.errors import Problem, problem_of
from airflow_pachyderm.dashboard.routes import files, jobs, page, pipelines, repos, status, threats
from airflow_pachyderm.dashboard.security import STRICT_HEADERS, SecurityHeaders, require_reader
from airflow_pachyderm.exceptions import PachydermError, PachydermUnavailableError

log = logging.getLogger(__name__)


def create_app() -> FastAPI:
    """Build the application."""
    app = FastAPI(title="Pachyderm", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(require_reader)])
    app.add_middleware(SecurityHeaders)
    for module in (status, pipelines, jobs, repos, files, threats, page):  # page last: it takes every other path
        app.include_router(module.router)
    app.add_exception_handler(PachydermError, _pachyderm_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)
    return app


def _answer(problem: Problem) -> JSONResponse:
    return JSONResponse(
        {"kind": problem.kind, "title": problem.title, "way_out": problem.way_out, "retry": problem.retry}, status_code=problem.status
    )


def _pachyderm_error(request: Request, exc: Exception) -> JSONResponse:
    if not isinstance(exc, PachydermError):
        raise exc
    problem = problem_of(exc)
    # An outage is polled by every open page: one line each is enough at debug.
    level = logging.DEBUG if problem.status == 404 or isinstance(exc, PachydermUnavailableError) else logging.WARNING
    log.log(level, "%s %s: %s: %s", request.method, request.url.path, type(exc).__name__, exc)
    return _answer(problem)


def _invalid_request(_request: Request, exc: Exception) -> JSONResponse:
    if not isinstance(exc, RequestValidationError):
        raise exc
    what = "; ".join(f"{error['loc'][-1]}: {error['msg']}" for error in exc.errors())
    return _answer(Problem(422, "invalid", f"The address is not valid: {what}", "Correct it, or start again from one of the views."))


def _http_error(_request: Request, exc: Exception) -> JSONResponse:
    if not isinstance(exc, HTTPException):
        raise exc
    way_out = {401: "Log in to Airflow: reload the browser's tab.", 404: "Start again from one of the views."}.get(exc.status_code, "")
    kind = {401: "anonymous", 403: "forbidden", 404: "not-found"}.get(exc.status_code, "refused")
    response = _answer(Problem(exc.status_code, kind, str(exc.detail), way_out))
    response.headers.update(exc.headers or {})
    return response


def _bug(request: Request, exc: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=exc)
    answer = _answer(Problem(500, "bug", "The page failed", "The log of Airflow's API server says why; please report it.", retry=True))
    answer.headers.update(STRICT_HEADERS)  # Starlette gives this answer outside of all middleware
    return answer
