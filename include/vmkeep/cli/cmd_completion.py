"""``vmkeep completion``: the script that makes a shell complete vmkeep's commands, options, restore points and VMs."""

from __future__ import annotations

import os

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete, shell_complete

from vmkeep.cli.pages import command
from vmkeep.cli.settings import COMPLETE
from vmkeep.errors import UsageError

_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' words=() at=0 before= goes_on= word type value completion i

    # Bash takes a word apart at each colon, and replaces only the part at the cursor.
    for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
        word=${COMP_WORDS[i]}
        [[ $i -gt 0 && ( $goes_on || $word == :* ) ]] || words+=("")
        if ((i == COMP_CWORD)); then
            at=$((${#words[@]} - 1))
            before=${words[at]}
            [[ $word == :* ]] && before+=$word
        fi
        words[${#words[@]} - 1]+=$word
        [[ $word == *: ]] && goes_on=1 || goes_on=
    done

    for completion in $(env COMP_WORDS="${words[*]}" COMP_CWORD=$at %(complete_var)s=bash_complete "$1"); do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            plain) COMPREPLY+=("${value#"$before"}") ;;
        esac
    done
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _WholeWords(BashComplete):
    """Completes in bash a word with colons, such as ``latest:web01``: click's script loses its beginning."""

    source_template = _BASH


class _WholeHelp(FishComplete):
    """Offers in fish with all of their help: click's script cuts an answer at each comma, so also within its text."""

    source_template = FishComplete.source_template.replace("string split ", "string split --max 1 ")


_SHELLS: dict[str, type[ShellComplete]] = {"bash": _WholeWords, "zsh": ZshComplete, "fish": _WholeHelp}
_VERBS = ("source", "complete")
_WORD = "COMP_CWORD"
"""The variable with the number of the word to complete; in fish, with the word itself."""
_DIGITS = 10
"""Digits of a number that is no number of a word any more."""


def answer_shell(offered: click.Command, asked: str) -> int:
    """Print the completions that a shell asks for by variables of its environment; return the exit code.

    :raises UsageError: the variables are not those that the script of ``vmkeep completion`` sets.
    """
    shell, _, verb = asked.partition("_")
    known = shell in _SHELLS and verb in _VERBS
    if not known or (verb == "complete" and not _names_word(shell)):
        raise UsageError(
            f"{COMPLETE}={asked}, COMP_WORDS and {_WORD} do not say which word to complete: a shell sets them by the "
            "script that 'vmkeep completion SHELL' prints"
        )
    return shell_complete(offered, {}, "vmkeep", COMPLETE, asked)


def _names_word(shell: str) -> bool:
    word = os.environ.get(_WORD)
    if word is None or "COMP_WORDS" not in os.environ:
        return False
    return shell == "fish" or (word.isdecimal() and len(word) < _DIGITS)


@command(
    "completion",
    examples={
        "In bash, make the folder, then the file, once for this user": (
            "mkdir -p ~/.local/share/bash-completion/completions && "
            "vmkeep completion bash > ~/.local/share/bash-completion/completions/vmkeep"
        ),
        "In zsh, in ~/.zshrc behind compinit": 'eval "$(vmkeep completion zsh)"',
        "In fish, make the folder, then the file, once for this user": (
            "mkdir -p ~/.config/fish/completions && vmkeep completion fish > ~/.config/fish/completions/vmkeep.fish"
        ),
    },
)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes vmkeep commands in a shell.

    Restore points and VMs come from the catalog in this user's SQLite file: the Tab key asks no network.
    """
    script = _SHELLS[shell](context.find_root().command, {}, "vmkeep", COMPLETE)
    click.echo(script.source_template % script.source_vars())
