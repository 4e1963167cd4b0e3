"""What a command is, and how its command line becomes a settings dataclass (tyro does the work)."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from headstart.cli import speak
from headstart.errors import ConfigError

Config = TypeVar("Config")

EXIT_CODES = """exit codes:
    0  done
    1  done, but some images could not be read (predict); they are named on stderr
    2  something given is wrong: an argument, the images, the network, a model file
    3  the run folder cannot be used or written
    4  training cannot go on
   70  a defect of headstart
  130  stopped by Ctrl-C; what was finished is saved"""


class UsageError(ConfigError):
    """The command line could not be understood. What was wrong has already been printed."""


@dataclass(frozen=True)
class Command(Generic[Config]):
    """One word of the command line.

    name       as typed after `headstart`
    summary    one line, shown in the list of commands
    config     dataclass whose fields are the flags and whose field docstrings are their help
    run        carries the command out and returns the exit code
    examples   command lines shown under the summary
    details    further lines of help, after the examples
    resumable  whether an interrupted call can be continued with --resume
    """

    name: str
    summary: str
    config: type[Config]
    run: Callable[[Config], int]
    examples: tuple[str, ...]
    details: str = ""
    resumable: bool = False

    def description(self) -> str:
        """The text above the flags."""
        examples = "\n".join(["examples:", *(f"  {line}" for line in self.examples)])
        return "\n\n".join(part for part in (self.summary, examples, self.details) if part)

    def parse(self, words: Sequence[str]) -> Config:
        """Settings from the words after the command's name.

        Raises UsageError when they cannot be understood, SystemExit(0) after printing --help.
        """
        said = io.StringIO()
        quiet = contextlib.redirect_stderr(said) if speak.wants_json(words) else contextlib.nullcontext()
        try:
            gave = gathered(words, _lists(self.config))
            self._check_given(gave)
            with quiet:
                return self._tyro(gave)
        except SystemExit as stop:
            sys.stderr.write(said.getvalue())
            if stop.code in (0, None):
                raise
            raise UsageError(_unboxed(said.getvalue())) from None

    def _check_given(self, words: Sequence[str]) -> None:
        """A flag that takes any number of values takes one at least: without any it would be ignored in silence."""
        flags = _lists(self.config)
        for place, word in enumerate(words):
            if word in flags and (place + 1 == len(words) or words[place + 1].startswith("--")):
                raise ConfigError(f"{word} needs a value; give one, or leave {word} out (`headstart {self.name} --help`)")

    def _tyro(self, words: Sequence[str]) -> Config:
        # Imported here: the list of commands needs no parser.
        import tyro
        from tyro import conf

        shape: Any = (
            conf.PositionalRequiredArgs,
            conf.PositionalMetavarFromFieldName,
            conf.OmitArgPrefixes,
            conf.FlagCreatePairsOff,
            conf.DisallowNone,
        )
        return tyro.cli(
            self.config,
            prog=f"headstart {self.name}",
            description=self.description(),
            args=list(words),
            config=shape,
            console_outputs=speak.is_first(),
        )


def _lists(config: type[Any]) -> set[str]:
    """Flags that take any number of values, groups of settings included."""
    hints = get_type_hints(config)
    found = {f"--{one.name.replace('_', '-')}" for one in fields(config) if get_args(hints[one.name])[1:] == (...,)}
    return found.union(*(_lists(hints[one.name]) for one in fields(config) if is_dataclass(hints[one.name])))


def gathered(words: Sequence[str], flags: Collection[str]) -> list[str]:
    """The words with the values of a repeated flag behind its first: of `--teacher a --teacher b` one would be lost.

    >>> gathered(["data", "--teacher", "a", "--json", "--teacher", "b"], {"--teacher"})
    ['data', '--teacher', 'a', 'b', '--json']
    """
    parts: list[list[str]] = [[]]
    current = parts[0]
    for word in words:
        name, equals, value = word.partition("=")
        if name in flags:
            known = next((part for part in parts if part[:1] == [name]), None)
            current = [name] if known is None else known
            parts += [current] if known is None else []
            current += [value] if equals else []
        elif word.startswith("--"):
            current = [word]
            parts.append(current)
        else:
            current.append(word)
    return [word for part in parts for word in part]


def _unboxed(text: str) -> str:
    """The words of a message that was drawn in a box."""
    lines = (line.strip("│╭╮╰╯ ").rstrip("─") for line in text.splitlines())
    return "\n".join(line for line in lines if line.strip("─- "))
