"""The group of commands on faces."""

import typer

from scalesearch.cli import faces_evaluate, faces_fit, faces_gallery, faces_identify
from scalesearch.cli.grouped import Command, Group

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Recognise the members of a group on photos; tell that anybody else is not one.\n\n"
    "Start with: scalesearch faces fit --data PEOPLE, a folder with a folder of photos per person.",
)
app.command("fit", cls=Command)(faces_fit.fit)
app.command("enroll", cls=Command)(faces_gallery.enroll)
app.command("identify", cls=Command)(faces_identify.identify)
app.command("list", cls=Command)(faces_gallery.list_members)
app.command("remove", cls=Command)(faces_gallery.remove)
app.command("evaluate", cls=Command)(faces_evaluate.evaluate)
