"""``vmkeep completion``: the script that makes a shell complete vmkeep's commands, options, restore points and VMs."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from vmkeep.cli.pages import command
from vmkeep.cli.settings import COMPLETE

_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@command(
    "completion",
    examples={
        "In bash, once for this user": "vmkeep completion bash > ~/.local/share/bash-completion/completions/vmkeep",
        "In zsh, in ~/.zshrc behind compinit": 'eval "$(vmkeep completion zsh)"',
        "In fish, once for this user": "vmkeep completion fish > ~/.config/fish/completions/vmkeep.fish",
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
