"""What tests of several parts share."""

import logging
import os
import uuid

import hypothesis
import pytest

# An example is judged by what it shows: how long it took says how busy the machine was.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def s3_server():
    """Serve S3 on loopback, with moto, and return its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_environment(s3_server):
    """Return the variables with which S3's clients find the server."""
    return {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "the-id",
        "AWS_SECRET_ACCESS_KEY": "the-secret-of-s3",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }


@pytest.fixture
def bucket(s3_environment, monkeypatch):
    """Make a fresh bucket, set the environment for it, and return it as boto3 sees it."""
    import boto3

    for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
        monkeypatch.delenv(name)
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    made = boto3.resource("s3").Bucket(f"b-{uuid.uuid4().hex}")
    made.create()
    return made
