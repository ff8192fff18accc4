"""Begins and ends the connection to a Ray cluster. The module is handed in: nothing imports ray."""

import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from revive.errors import PrerequisiteError

_STORE_BYTES = 256 * 2**20
"""Of a local cluster, whose runs hand nothing over; Ray would set aside a third of the memory."""
_LONGEST_TEMP = 40
"""Characters; sockets lie below it, and their paths end at 107."""
_ANSWER_SECONDS = 10.0

# Ray reports to its makers, and warns of GPUs that nobody asked for.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


# A local cluster's ports are open to the network; whoever has no token is sent away.
_OWN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def variables(own: bool) -> Generator[None, None, None]:
    """Ray is told of these in no other way, and before it is imported; what a user set stays.

    Args:
        own: Whether the cluster will be ours.
    """
    wanted = {**_QUIET, **(_OWN if own else {})}
    ours = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


@contextmanager
def local(ray: Any, cpus: int) -> Generator[None, None, None]:
    """A cluster of this machine alone, that nobody else may use, and that leaves nothing behind.

    Args:
        ray: The module.
        cpus: What one run needs; a machine with fewer pretends.

    Raises:
        PrerequisiteError: Ray does not start.
    """
    temp = tempfile.gettempdir()
    temp = tempfile.mkdtemp(prefix="revive-", dir=temp if len(temp) <= _LONGEST_TEMP else "/tmp")
    try:
        try:
            ray.init(
                address="local",
                num_cpus=max(os.cpu_count() or 1, cpus),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=_STORE_BYTES,
                _temp_dir=temp,
            )
        except Exception as error:
            raise PrerequisiteError(
                f"Ray cannot start on this machine ({_first_line(error)}); use --on local."
            ) from error
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(temp, ignore_errors=True)


@contextmanager
def existing(ray: Any, address: str) -> Generator[None, None, None]:
    """A cluster that was there before, and stays.

    Raises:
        PrerequisiteError: Nobody answers.
    """
    try:
        _call(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        raise PrerequisiteError(
            f"--address {address}: no Ray cluster answers there ({_first_line(error)}); "
            "start one with 'ray start --head', or leave --address out for a local one."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _call(address: str) -> None:
    """Whether anybody listens there; Ray itself would go on asking for a quarter of an hour."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isascii() and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0].rstrip('.')}"
