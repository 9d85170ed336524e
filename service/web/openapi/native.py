"""POST /predict and POST /feedback in the OpenAPI document."""

from typing import Any

from service.imaging.reader import NORMALISE_MODES
from service.prediction.options import FIELDS
from service.settings import Settings
from service.web.openapi import examples, schemas
from service.web.openapi.operations import (
    PREDICT_ERRORS,
    Operation,
    describe_errors,
    describe_success,
    json_content,
    parameter,
    require_key,
)

Json = dict[str, Any]

TAG = "Predictions"


def paths(settings: Settings, url: str) -> Json:
    """The paths, with the limits of the settings; /feedback only if they have it."""
    found = {"/predict": {"post": require_key(_predict(settings, url), settings)}}
    return found | ({"/feedback": {"post": require_key(_feedback(), settings)}} if settings.feedback_dir else {})


def _predict(settings: Settings, url: str) -> Json:
    return Operation("predict", TAG, "Predict the digit on each picture, in order").build(
        describe_success("PredictResponse", examples.PREDICT_RESPONSES) | describe_errors(PREDICT_ERRORS),
        description=(
            f"Limits: {settings.max_body_bytes} bytes and {settings.max_pictures} pictures a request, "
            f"{settings.max_pixels} pixels a picture, of a JPEG as it is decoded at a reduced scale. Formats of a "
            "picture: PNG, JPEG, GIF, BMP, WebP, TIFF, AVIF. A body is recognised by its first bytes before its "
            "content type. If one of several pictures is rejected, the request is, and the error names the picture. "
            "A query parameter that is not listed is 400."
        ),
        **{"x-codeSamples": [_sample(label, line) for label, line in _curl_lines(settings, url).items()]},
        parameters=[
            parameter(
                "query",
                "fields",
                f"fields of each prediction, separated by commas, of {', '.join(FIELDS)}; all by default",
                {"type": "string", "pattern": f"^({'|'.join(FIELDS)})(,({'|'.join(FIELDS)}))*$"},
            ),
            parameter(
                "query",
                "normalise",
                "which images are normalised; without it, pictures as with auto, and images of numbers are not. "
                "normalize is accepted too",
                {"enum": list(NORMALISE_MODES)},
            ),
            parameter(
                "query",
                "split",
                "predict each digit of each line of writing; not with normalise=never",
                {"const": "digits"},
            ),
            parameter("query", "show", "add the image that the network was given", {"const": "image"}),
        ],
        requestBody={
            "required": True,
            "description": "May be compressed: Content-Encoding gzip or deflate.",
            "content": {
                "multipart/form-data": {"schema": schemas.FORM, "encoding": {"file": {"contentType": "image/*"}}},
                "image/*": {"schema": schemas.PICTURE_FILE},
                **json_content("PredictRequest", examples.PREDICT_REQUESTS),
                "application/octet-stream": {"schema": schemas.ARRAY_FILE},
                "application/x-npy": {"schema": schemas.NPY_FILE},
                "application/x-www-form-urlencoded": {
                    "schema": schemas.URL_ENCODED,
                    "example": {"image": examples.PICTURE},
                },
                "text/plain": {"schema": schemas.BASE64_PICTURE, "example": examples.PICTURE},
            },
        },
    )


def _feedback() -> Json:
    return Operation("submitFeedback", TAG, "Report the digit that a picture shows").build(
        describe_success("Status", {"stored": {"status": "kept"}}, status="201")
        | describe_errors(["400", "403", "408", "413", "415", "422", "429", "503", "507"]),
        description="Only as application/json, which a web page of another origin cannot send.",
        requestBody={"required": True, "content": json_content("Feedback", {"corrected": examples.FEEDBACK})},
    )


def _curl_lines(settings: Settings, url: str) -> dict[str, str]:
    """Commands by what they send; tests run them."""
    curl = "curl -H 'Authorization: Bearer KEY'" if settings.api_key else "curl"
    address = f"{url}/predict"
    return {
        "a picture as a file of a form": f"{curl} -F file=@seven.png {address}",
        "a picture as the body": f"{curl} --data-binary @seven.png '{address}?fields=digit,confidence'",
        "pictures with several digits": f"{curl} -F a=@seven.png -F b=@seven.png '{address}?split=digits&fields=digit'",
        "base64 in JSON": f"echo '{{\"images\": [\"'$(base64 -w0 seven.png)'\"]}}' | {curl} --json @- {address}",
    }


def _sample(label: str, line: str) -> Json:
    return {"lang": "Shell", "label": label, "source": line}
