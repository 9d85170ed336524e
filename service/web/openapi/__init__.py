"""The HTTP API as an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0), the contract of the service."""
