"""The command line; each command is a module of its own and is loaded only when it is called."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from io import TextIOWrapper

import click

from pqaudit import __version__
from pqaudit.cli.exit_codes import ExitCode

_COMMANDS = {
    "audit": ("pqaudit.cli.audit", "Say of every IKE SA in captures which key exchange protects it."),
    "search": ("pqaudit.cli.search", "Ask the usual questions of findings, in files or on a server."),
    "report": ("pqaudit.cli.report", "Report how tunnels stand to post-quantum deadlines."),
    "rules": ("pqaudit.cli.rules", "Show the rules that decide verdicts; check and test rules of your own."),
    "explain": ("pqaudit.cli.explain", "Tell one IKE SA as a story, frame by frame."),
    "sensor": ("pqaudit.cli.sensor", "Watch interfaces, and tell of every IKE SA as soon as it is decided."),
    "ship": ("pqaudit.cli.ship", "Send findings made earlier to Elasticsearch or OpenSearch."),
    "elasticsearch": (
        "pqaudit.cli.elasticsearch",
        "Prepare Elasticsearch or OpenSearch for findings, and Kibana for showing them.",
    ),
    "crosscheck": ("pqaudit.cli.crosscheck", "Compare every field with what tshark reads: a second opinion."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(_COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # The one-line helps stand here so that --help imports no command.
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 findings at or above --fail-on, 2 usage, 3 some input could not be read, "
    "4 the output could not be written, 5 a server could not be reached or stayed overloaded, 6 a server or its "
    "settings refuse, 7 a server refused some findings, 130 interrupted.",
)
@click.version_option(__version__, "-V", "--version", prog_name="pqaudit")
def main() -> None:
    """Passive audit of IPsec tunnels for the post-quantum move.

    Reads IKEv2 from capture files and says of every SA whether it is classical-only, RFC 9370 with non-standard
    exchanges, or draft-compliant hybrid ML-KEM, with the frames that show it. Nothing is ever sent to the network that
    is audited.
    """
    # Who reads our output may go away: then end at once and quietly, as other filters do.
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # A terminal or pipe that cannot show a character gets its code instead of a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def entry() -> None:
    """What the ``pqaudit`` command calls: ``main`` with one exit code for an interrupt, whenever it comes."""
    try:
        code = main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("pqaudit: interrupted", err=True)
        code = ExitCode.INTERRUPTED
    sys.exit(code)
