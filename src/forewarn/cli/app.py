"""The list of commands, and the boundary at which an error becomes one sentence and an exit status.

Commands import what they need when they run, so that ``forewarn --help`` stays quick.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from forewarn import __version__
from forewarn.cli import (
    bench,
    compare,
    demo,
    engine_check,
    engine_serve,
    estimate,
    forecast,
    imports,
    judge,
    organism,
    plan,
    preflight,
    problems,
    refine_donor,
    report,
    run,
    sandbox,
    show,
    train_subject,
    watch,
)
from forewarn.cli.exits import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_USER_ERROR
from forewarn.cli.say import say
from forewarn.errors import ForewarnError, IncompleteError, as_missing_extra

Verb = Callable[..., None]

COMMANDS: dict[str, Verb] = {
    "compare": compare.compare,
    "demo": demo.demo,
    "estimate": estimate.estimate,
    "forecast": forecast.forecast,
    "judge": judge.judge,
    "plan": plan.plan,
    "preflight": preflight.preflight,
    "refine-donor": refine_donor.refine_donor,
    "report": report.report,
    "run": run.run,
    "show": show.show,
    "status": watch.status,
    "train-donor": run.train_donor,
    "train-subject": train_subject.train_subject,
    "watch": watch.watch,
}
"""verb -> function; its docstring is the help"""

GROUPS: dict[str, tuple[str, dict[str, Verb]]] = {
    "bench": (
        "The foresight benchmark: base models, RL runs of the frozen design, their true rates, and scores.",
        {
            "build": bench.build,
            "train": bench.train,
            "truth": bench.truth,
            "measure": bench.measure,
            "score": bench.score,
        },
    ),
    "engine": ("Engines that sample and score.", {"check": engine_check.check, "serve": engine_serve.serve}),
    "organism": (
        "The bundled model organism: rebuild it from a seed, and measure it.",
        {"build": organism.build, "train": organism.train, "truth": organism.truth, "show": organism.show},
    ),
    "problems": (
        "The problem set: base tasks under exploit types, and the audit that admits them.",
        {
            "list": problems.list_,
            "show": problems.show,
            "assemble": problems.assemble,
            "export": problems.export,
            "audit": problems.audit,
            "import": imports.import_,
        },
    ),
    "sandbox": ("The sandbox that runs submissions.", {"check": sandbox.check}),
}
"""group -> its help and its verbs"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on ``arguments`` (default: the process's own) and exit.

    Exit status: 0 done; 1 a bug, with its traceback; 2 something the user can fix, in one sentence on stderr; 4 an
    incomplete study: one sentence on stderr says what is missing and how to continue; 130 interrupted, after which the
    same command resumes where it stopped.
    """
    typer.main.get_command(make_app())(args=arguments, prog_name="forewarn")


def make_app() -> typer.Typer:
    """Return a new Typer application."""
    settings: dict[str, Any] = {
        "no_args_is_help": True,
        "add_completion": False,
        "pretty_exceptions_enable": False,
        "rich_markup_mode": None,
        "context_settings": {"help_option_names": ["-h", "--help"]},
    }
    app = typer.Typer(help="Early warning of reward hacking, with probabilities.", **settings)
    app.callback()(_root)
    for name, verb in COMMANDS.items():
        app.command(name)(at_boundary(verb))
    for group_name, (group_help, verbs) in GROUPS.items():
        group = typer.Typer(help=group_help, **settings)
        group.callback()(_group)
        for name, verb in verbs.items():
            group.command(name)(at_boundary(verb))
        app.add_typer(group, name=group_name)
    return app


def at_boundary(verb: Verb) -> Verb:
    """Wrap ``verb`` so that forewarn's errors and Ctrl-C become one sentence on stderr and an exit status.

    Bugs pass through and keep their traceback.
    """

    @functools.wraps(verb)
    def bounded(*args: object, **kwargs: object) -> None:
        try:
            verb(*args, **kwargs)
        except IncompleteError as error:
            _say(str(error))
            raise typer.Exit(EXIT_INCOMPLETE) from None
        except ForewarnError as error:
            _say(str(error))
            raise typer.Exit(EXIT_USER_ERROR) from None
        except ModuleNotFoundError as error:
            missing = as_missing_extra(error)
            if missing is None:
                raise
            _say(str(missing))
            raise typer.Exit(EXIT_USER_ERROR) from None
        except KeyboardInterrupt:
            _say("interrupted; finished work is kept, and the same command resumes from there")
            raise typer.Exit(EXIT_INTERRUPTED) from None

    return bounded


def _say(sentence: str) -> None:
    # stdout first, so that the sentence comes last if both go to one terminal.
    sys.stdout.flush()
    say(f"forewarn: {' '.join(sentence.split())}", error=True)


def _print_version(asked: bool) -> None:
    if asked:
        say(f"forewarn {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def _group() -> None:
    # A callback makes Typer keep a group with a single verb as a group.
    pass
