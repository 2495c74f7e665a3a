"""Options that say how a search server is reached; secrets come from files or the environment only.

The value of an option is shown by process lists and kept in shell histories, so there is no option that takes a secret.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.number_range import NumberRange
from pqaudit.elastic.connection import Connection, ConnectionSettingsError, Engine, secret_from_file
from pqaudit.elastic.errors import ServerError

URL_VARIABLE = "PQAUDIT_ELASTICSEARCH_URL"
API_KEY_VARIABLE = "PQAUDIT_ELASTICSEARCH_API_KEY"
USER_VARIABLE = "PQAUDIT_ELASTICSEARCH_USER"
PASSWORD_VARIABLE = "PQAUDIT_ELASTICSEARCH_PASSWORD"
CA_FILE_VARIABLE = "PQAUDIT_ELASTICSEARCH_CA_FILE"
FINGERPRINT_VARIABLE = "PQAUDIT_ELASTICSEARCH_FINGERPRINT"

_PREFIX = "server_"
_DEFAULT_TIMEOUT = 30.0
_LONGEST_TIMEOUT = 3600.0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What the options of one call said.

    Attributes:
        url_option: the option that takes the URL, for messages.
        given: names of the parameters that stood on the command line, as against the environment.
    """

    url_option: str
    url: str | None
    api_key_file: Path | None
    user: str | None
    password_file: Path | None
    ca_file: Path | None
    fingerprint: str | None
    engine: str | None
    timeout: float
    given: frozenset[str]


def connection_options(
    url_option: str = "--elasticsearch", required: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options for a server to a command, which receives them as one argument ``server`` (`ServerOptions`).

    Args:
        url_option: the option that takes the URL.
        required: whether a call without a URL is wrong usage.
    """
    file = click.Path(path_type=Path, dir_okay=False)
    options = [
        click.option(
            url_option,
            f"{_PREFIX}url",
            metavar="URL",
            envvar=URL_VARIABLE,
            show_envvar=True,
            required=required,
            help="Elasticsearch or OpenSearch server, https://host:9200.",
        ),
        click.option(
            "--api-key-file",
            f"{_PREFIX}api_key_file",
            type=file,
            metavar="FILE",
            help=f"File whose first line is the encoded API key; else {API_KEY_VARIABLE}.",
        ),
        click.option(
            "--elasticsearch-user",
            f"{_PREFIX}user",
            metavar="NAME",
            envvar=USER_VARIABLE,
            show_envvar=True,
            help="User, in place of an API key.",
        ),
        click.option(
            "--password-file",
            f"{_PREFIX}password_file",
            type=file,
            metavar="FILE",
            help=f"File whose first line is the user's password; else {PASSWORD_VARIABLE}.",
        ),
        click.option(
            "--ca-file",
            f"{_PREFIX}ca_file",
            type=file,
            metavar="FILE",
            envvar=CA_FILE_VARIABLE,
            show_envvar=True,
            help="Certificates (PEM) to check the server's against, in place of the system's.",
        ),
        click.option(
            "--fingerprint",
            f"{_PREFIX}fingerprint",
            metavar="HEX",
            envvar=FINGERPRINT_VARIABLE,
            show_envvar=True,
            help="SHA-256 of the server's certificate; it alone is then checked.",
        ),
        click.option(
            "--engine",
            f"{_PREFIX}engine",
            type=click.Choice([str(engine) for engine in Engine]),
            help="Kind of server.  [default: ask it]",
        ),
        click.option(
            "--timeout",
            f"{_PREFIX}timeout",
            type=NumberRange(0, _LONGEST_TIMEOUT, min_open=True),
            default=_DEFAULT_TIMEOUT,
            show_default=True,
            metavar="SECONDS",
            help="Longest wait for one answer of the server.",
        ),
    ]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def with_server(**arguments: Any) -> Any:
            context = click.get_current_context()
            own = {name: arguments.pop(name) for name in list(arguments) if name.startswith(_PREFIX)}
            given = frozenset(
                name.removeprefix(_PREFIX)
                for name in own
                if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
            )
            values = {name.removeprefix(_PREFIX): value for name, value in own.items()}
            return function(**arguments, server=ServerOptions(url_option=url_option, given=given, **values))

        command: Callable[..., Any] = with_server
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def connection_or_exit(options: ServerOptions, environment: Mapping[str, str] = os.environ) -> Connection | None:
    """The connection that the options and the environment describe; None without a URL.

    What stands on the command line wins: a user given there sets an API key of the environment aside, and the other
    way round.

    Raises:
        click.UsageError: they cannot be used.
    """
    if options.url is None:
        # Without a URL other settings in the environment are idle, but an option is a mistake.
        idle = sorted(options.given - {"timeout"})
        if idle:
            option = "--elasticsearch-user" if idle[0] == "user" else "--" + idle[0].replace("_", "-")
            raise click.UsageError(f"{option} needs a server: give {options.url_option} or {URL_VARIABLE}")
        return None
    api_key = environment.get(API_KEY_VARIABLE) or None
    password = environment.get(PASSWORD_VARIABLE) or None
    user = options.user
    if options.api_key_file is not None:
        api_key = None
        if not options.given & {"user", "password_file"}:
            user = password = None
    elif options.given & {"user", "password_file"}:
        api_key = None
    try:
        if options.api_key_file is not None:
            api_key = secret_from_file(options.api_key_file)
        if options.password_file is not None:
            password = secret_from_file(options.password_file)
        if user is not None and password is None:
            raise ConnectionSettingsError(
                f"the user {user} needs a password: give --password-file or {PASSWORD_VARIABLE}"
            )
        connection = Connection(
            options.url,
            user=user,
            password=password,
            api_key=api_key,
            ca_file=options.ca_file,
            fingerprint=options.fingerprint,
            engine=None if options.engine is None else Engine(options.engine),
            timeout=options.timeout,
        )
    except ConnectionSettingsError as error:
        raise click.UsageError(str(error)) from error
    if hasattr(signal, "SIGPIPE"):
        # A server that goes away must be an error of one request and not the end of the process.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return connection


def server_failure(error: ServerError) -> click.ClickException:
    """The end of a command that a server made fail: with the exit code for "later" or for "change something"."""
    return _NotDelivered(str(error)) if error.passing else _ServerRefused(str(error))


class _NotDelivered(click.ClickException):
    exit_code = ExitCode.NOT_DELIVERED


class _ServerRefused(click.ClickException):
    exit_code = ExitCode.SERVER_REFUSED
