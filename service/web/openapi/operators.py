"""The routes for operators and for people in the OpenAPI document."""

from typing import Any

from service.settings import Settings
from service.web.openapi import schemas
from service.web.openapi.operations import (
    Operation,
    describe_errors,
    describe_success,
    describe_text,
    parameter,
    require_key,
)

Json = dict[str, Any]

OPERATION, PAGES = "Operation", "Pages"
_HTML: Json = {"text/html": {"schema": {"type": "string"}}}


def paths(settings: Settings) -> Json:
    """The paths; with a key, those that require it say so."""
    report = describe_text("text/html") | describe_errors(["404", "503"])
    files = describe_text("*/*") | describe_errors(["404", "503"])
    name = parameter("path", "name", "file name", {"type": "string"}, "accuracy.png")
    model = {"committed": {"version": "5", "manifest": {"name": "digits"}, "runtime": "litert"}}
    ready = {"ready": {"status": "ready", "version": "5"}}
    return {
        "/healthz": {
            "get": Operation("getHealth", OPERATION, "Liveness: 200 while the process runs").build(
                describe_success("Status", {"alive": {"status": "alive"}})
            )
        },
        "/readyz": {
            "get": Operation("getReadiness", OPERATION, "Readiness: 200 while a model is loaded and warm").build(
                describe_success("Readiness", ready) | describe_errors(["503"])
            )
        },
        "/model": {
            "get": require_key(
                Operation("getModel", OPERATION, "Manifest and runtime of the version in use").build(
                    describe_success("Model", model) | describe_errors(["503"])
                ),
                settings,
            )
        },
        "/metrics": {
            "get": Operation("getMetrics", OPERATION, "Metrics of all workers in the Prometheus text format").build(
                describe_text("text/plain")
            )
        },
        "/": {
            "get": Operation("getPage", PAGES, "The web UI: draw digits or choose pictures").build(
                describe_text("text/html")
            ),
            "post": _form(),
        },
        "/report/": {
            "get": require_key(Operation("getReport", PAGES, "Report of the version in use").build(report), settings)
        },
        "/report/{name}": {
            "get": require_key(
                Operation("getReportFile", PAGES, "A file of the report").build(files, parameters=[name]), settings
            )
        },
        "/docs": {
            "get": Operation("getDocs", PAGES, "This API description as a page").build(describe_text("text/html"))
        },
        "/openapi.json": {
            "get": Operation("getOpenApi", PAGES, "This API description as OpenAPI").build(
                describe_success("OpenApiDocument", {})
            )
        },
    }


def _form() -> Json:
    return Operation("submitForm", PAGES, "The result as a page: the form of the web UI without JavaScript").build(
        {
            "200": {"description": "the page with the predictions", "content": _HTML},
            "default": {"description": "the page with the error that /predict would return", "content": _HTML},
        },
        requestBody={
            "content": {
                "multipart/form-data": {"schema": schemas.FORM, "encoding": {"file": {"contentType": "image/*"}}}
            }
        },
    )
