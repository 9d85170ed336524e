"""bench/request_bodies.py: the service reads every body as the same picture."""

from flask.testing import FlaskClient

from bench import request_bodies
from service.prediction import fast_path
from service.settings import Settings


def test_every_body_of_one_picture_is_predicted_alike(client: FlaskClient) -> None:
    responses = {
        name: client.post("/predict", data=body, content_type=content_type)
        for name, (content_type, body) in request_bodies.single_picture().items()
    }
    assert {name: response.status_code for name, response in responses.items()} == dict.fromkeys(responses, 200)
    assert len({response.data for response in responses.values()}) == 1


def test_pictures_are_normalised_and_show_as_many_digits_as_drawn(client: FlaskClient) -> None:
    for name, (content_type, body, query) in request_bodies.pictures().items():
        assert fast_path.try_read(body, content_type.encode(), Settings()) is None
        response = client.post(f"/predict{query}", data=body, content_type=content_type)
        assert len(response.get_json()["predictions"]) == (18 if name.startswith("page") else 1)


def test_bulk_has_as_many_images_as_requested(client: FlaskClient) -> None:
    content_type, body = request_bodies.bulk(3)
    response = client.post("/predict?fields=digit", data=body, content_type=content_type)
    assert len(response.get_json()["predictions"]) == 3


def test_the_bodies_of_other_protocols_are_predicted(client: FlaskClient) -> None:
    content_type, body, header = request_bodies.open_inference(3)
    name, _, length = header.partition(": ")
    response = client.post("/v2/models/digits/infer", data=body, content_type=content_type, headers={name: length})
    assert response.status_code == 200
    assert int(response.headers[name]) < len(response.data)
    content_type, body = request_bodies.tensorflow_serving()
    response = client.post("/v1/models/digits:predict", data=body, content_type=content_type)
    assert len(response.get_json()["predictions"]) == 1
