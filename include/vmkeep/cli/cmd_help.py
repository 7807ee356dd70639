"""``vmkeep help``: the page of a command, and the page on environment variables and the configuration file."""

from __future__ import annotations

from difflib import get_close_matches

import click

from vmkeep.cli.configuration import VARIABLE, config_path
from vmkeep.cli.pages import command
from vmkeep.cli.settings import SETTINGS
from vmkeep.errors import UsageError

_ENVIRONMENT = "environment"
_OTHERS = {
    VARIABLE: "Another configuration file; /dev/null for none.",
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE": "Keys for S3 and KMS; without them, "
    "the usual chain of profiles and roles is asked.",
    "AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL_KMS, AWS_ENDPOINT_URL": "Server of S3 or KMS, if it is not Amazon's.",
    "AWS_REGION, AWS_DEFAULT_REGION": "Region of the bucket and of the key.",
    "AWS_CA_BUNDLE": "Certificate authorities to verify that server with.",
    "XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_CACHE_HOME": "Folders of configuration, catalog and index cache; by default "
    "~/.config, ~/.local/state and ~/.cache.",
}
_RULES = """\
An option comes before the environment, the environment before the configuration file, and the file before the default.
A variable that is set and empty hides the file's value. 'vmkeep config show' tells each value and where it comes from.
"""
_EXAMPLE = (
    'repository = "s3://vm-backup/repo"',
    'vcenter = "vcenter.example.com"',
    'user = "backup@vsphere.local"',
    'password_file = "~/.config/vmkeep/password"',
)
_FILE = """\
The file is TOML: one key and a text in quotes on a line. It may hold no secret, but it may name the files that do.
Such a file must be readable by you alone; its first line is the secret. Paths begin with / or ~/.
"""


@command(
    "help", examples={"Explain a command": "vmkeep help backup run", "Explain the settings": "vmkeep help environment"}
)
@click.argument("words", metavar="[COMMAND...|environment]", nargs=-1)
@click.pass_context
def help(context: click.Context, words: tuple[str, ...]) -> None:  # noqa: A001 - the name of the noun
    """Explain a command, or the environment variables and the configuration file."""
    if words == (_ENVIRONMENT,):
        click.echo(environment_page(context.find_root().make_formatter()))
        return
    click.echo(_page(context.find_root(), words))


def environment_page(formatter: click.HelpFormatter) -> str:
    """Return the page on environment variables and the configuration file."""
    formatter.write_text(_RULES)
    with formatter.section("Environment variables"):
        own = [(each.variable, _told(each.meaning, each.option)) for each in SETTINGS]
        formatter.write_dl([*own, *_OTHERS.items()])
    with formatter.section(f"Configuration file {config_path() or ''}".rstrip()):
        formatter.write_text(_FILE)
        formatter.write_dl([(each.key, each.meaning) for each in SETTINGS if not each.secret])
    with formatter.section("Example"):
        for line in _EXAMPLE:
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
    return formatter.getvalue().rstrip("\n")


def _told(meaning: str, option: str | None) -> str:
    return f"{meaning} (option {option})" if option else meaning


def _page(root: click.Context, words: tuple[str, ...]) -> str:
    context = root
    for word in words:
        group = context.command
        found = group.get_command(context, word) if isinstance(group, click.Group) else None
        if found is None:
            names = group.list_commands(context) if isinstance(group, click.Group) else []
            near = get_close_matches(word, names, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise UsageError(
                f"there is no command 'vmkeep {' '.join(words)}'.{hint} See '{context.command_path} --help'."
            )
        context = click.Context(found, info_name=word, parent=context)
    return context.get_help()
