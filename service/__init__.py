"""The service: pictures in, digits out, over HTTP. `service.app.create_app` makes it."""
